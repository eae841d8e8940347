/** The set-up of an empty installation: whoever sees the terminal makes the first administrator of the provider. */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import { permissions } from "#kernel/permissions";
import { invalid } from "#kernel/problem";
import { makeUser } from "#modules/directory";
import { createAssignment } from "../assignment/operations.ts";
import { createKey } from "../key/operations.ts";
import { setPassword } from "../user/log-in-row.ts";
import { hashOrRefuse, passwordFaults } from "../user/password-rules.ts";
import { makeLink, readLink, takeLink } from "./link.ts";

/** Makes a set-up link, good for an hour, and returns its address. Links made before go on working for theirs. */
export async function makeSetupLink(kernel: Kernel, rootId: string): Promise<string> {
  const root = (await kernel.gate.tenant(rootId))!;
  const made = await inTransaction(kernel, systemCaller(kernel, root, "first start"), (ctx) =>
    makeLink(ctx, "setup", { tenantId: rootId, userId: null }),
  );
  return made.url;
}

/** Whether set-up links were made and none has been used. */
export async function awaitsSetUp(kernel: Kernel): Promise<boolean> {
  const row = await kernel.system
    .in("")
    .first(
      query<{ used: boolean | null }>(
        sql`select bool_or(used_at is not null) as used from access.link where kind = 'setup'`,
      ),
    );
  return row!.used === false;
}

/** Refuses a link that does not work; uses nothing up. */
export async function readSetupLink(ctx: Context, token: string): Promise<void> {
  await readLink(ctx.open!.system, "setup", token, ctx.now);
}

export type SetUp = {
  token: string;
  username: string;
  email: string;
  fullname: string;
  password: string;
  withKey: boolean;
};

/** Makes the first administrator, and on request a key for first calls; the key's secret is returned, else null. */
export async function setUp(ctx: Context, given: SetUp): Promise<{ login: string; key: string | null }> {
  const link = await readLink(ctx.open!.system, "setup", given.token, ctx.now);
  const { username, email, fullname } = given;
  const faults = passwordFaults(given.password, { username, email });
  if (faults.length > 0) throw invalid(faults);
  const phc = await hashOrRefuse(given.password);
  const everything = {
    permissions: new Set(permissions),
    within: { kind: "tenant", id: link.tenant_id },
  } as const;
  const actor = { kind: "system", id: "system", name: "set-up" } as const;
  const via = { kind: "link", id: link.id, hint: null, clientId: null, grantId: null } as const;
  return ctx.open!.as(link.tenant_id, { actor, via, grants: [everything] }, async (tx) => {
    await takeLink(tx, link);
    await tx.db.run(query(sql`update access.link set ended_at = ${tx.now} where kind = 'setup' and ended_at is null`));
    const { id } = await makeUser(tx, { username, email, fullname });
    await setPassword(tx, id, phc, id);
    const roleId = "provider_administrator";
    await createAssignment(tx, { principal: { kind: "user", id }, roleId });
    const key = given.withKey
      ? await createKey(tx, { title: "first-key", roles: [{ roleId }], responsibleUserId: id })
      : null;
    return { login: `${tx.who.acting.code}/${username}`, key: key?.body.secret ?? null };
  });
}
