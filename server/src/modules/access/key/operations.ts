import { type SqlBool, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { newId } from "#kernel/ids";
import { readPage } from "#kernel/page";
import { type Fault, invalid, notFound, problem, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { tenantOfUser, userStanding } from "#modules/directory";
import { requireMayHandOut } from "../hand-out.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { access } from "../tables.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { lockTree } from "../tenant/tree.ts";
import { keyDeleted, keyDisabled, keyEnabled, keyRotated, keyUpdated } from "./events.ts";
import { expiryFaults, readNetworks, scopeFaults, titleFaults, valueFaults } from "./faults.ts";
import { heldBy, isAmong, opened, type ReadRole, readRoles, storeRoles } from "./given-roles.ts";
import { storeKey, type Tagged } from "./issue.ts";
import { userFaults } from "./owner.ts";
import { requirePlace, requireTitle } from "./place.ts";
import { record, shownFields } from "./record.ts";
import { lockKey, requireMayImport, requireMayIssue, requireVersion } from "./rights.ts";
import { rotateSecret } from "./rotation.ts";
import { type KeyFound, keyOf, keyTag, readKey, tellOfKey, visibleKeys, withParts } from "./rows.ts";
import type { IssuedKey, Key, KeyChange, NewKey, Rotation } from "./schema.ts";

export const keyOwnerGone = problem("key_owner_gone", 409, "The responsible user cannot log in any more.");

type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Filters = {
  kind?: Key["kind"][];
  enabled?: boolean;
  tenantId?: string[];
  userId?: string[];
  title?: string;
  expiresBefore?: string;
  unusedSince?: string;
  updatedSince?: string;
  q?: string;
};

export async function listKeys(ctx: Context, input: ListInput & Filters) {
  const faults = [
    ...(await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
      ctx.db.rows(visibleTenants(ctx, "key.read").where("t.id", "in", ids)),
    )),
    ...(await filterFaults("userId", "usr", input.userId, (ids) => usersAmong(ctx, ids))),
  ];
  if (faults.length > 0) throw invalid(faults);
  let rows = withParts(visibleKeys(ctx, "key.read"), ctx.now);
  if (input.kind) rows = rows.where("k.kind", "in", input.kind);
  if (input.enabled !== undefined) rows = rows.where("k.enabled", "=", input.enabled);
  if (input.tenantId) rows = rows.where("k.tenant_id", "in", input.tenantId);
  if (input.userId) rows = rows.where("k.user_id", "in", input.userId);
  if (input.title !== undefined) rows = rows.where("k.title", "=", input.title);
  if (input.expiresBefore) rows = rows.where("k.expires_at", "<", new Date(input.expiresBefore));
  if (input.updatedSince) rows = rows.where("k.updated_at", ">=", new Date(input.updatedSince));
  if (input.unusedSince)
    rows = rows.where(sql<SqlBool>`coalesce(k.last_used_at, k.created_at) < ${new Date(input.unusedSince)}`);
  if (input.q !== undefined) {
    rows = rows.where(sql<SqlBool>`strpos(lower(normalize(concat_ws(E'\n', k.title, k.description,
      (select string_agg(s.hint, E'\n') from access.key_secret s where s.key_id = k.id)), NFC)),
      lower(normalize(${input.q}, NFC))) > 0`);
  }
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("k.created_at"), updatedAt: sql.ref("k.updated_at"), title: sql`lower(k.title)` },
    by: "createdAt",
    id: sql.ref("k.id"),
    item: keyOf,
  });
}

async function usersAmong(ctx: Context, ids: string[]): Promise<{ id: string }[]> {
  const found = await Promise.all(ids.map(async (id) => ({ id, tenantId: await tenantOfUser(ctx.db, id) })));
  return found.filter(({ tenantId }) => tenantId !== undefined);
}

export async function getKey(ctx: Context, keyId: string): Promise<Tagged<Key>> {
  const row = await ctx.db.first(withParts(visibleKeys(ctx, "key.read"), ctx.now).where("k.id", "=", keyId));
  if (!row) throw refuse(notFound);
  return { body: keyOf(row), etag: keyTag(row) };
}

/** Issues a standard, integration or personal key in the acting tenant. */
export async function createKey(ctx: Context, input: NewKey): Promise<Tagged<IssuedKey>> {
  const { kind = "standard", title, scopes = ["*"] } = input;
  const tenantId = ctx.who.acting.id;
  const id = newId("key", ctx.now.getTime());
  if (input.roles) await lockTree(ctx, false);
  await requireMayIssue(ctx, input);
  if (input.value !== undefined) requireMayImport(ctx);
  requireRecentLogIn(ctx);
  const { networks, faults: networkFaults } = readNetworks(input.allowedAddresses ?? []);
  const { roles, faults: roleFaults } = await newRoles(ctx, id, kind, input);
  const faults = [
    ...titleFaults(kind, title),
    ...(await ownerFaults(ctx, kind, input)),
    ...roleFaults,
    ...scopeFaults(input.scopes),
    ...expiryFaults(input.expiresAt, ctx.now),
    ...valueFaults(input.value),
    ...networkFaults,
  ];
  if (faults.length > 0) throw invalid(faults);
  const handed = kind === "personal" ? await heldBy(ctx, tenantId, input.userId!) : roles;
  requireMayHandOut(ctx, handed, scopes);
  await requirePlace(ctx, kind, input.userId ?? null);
  return storeKey(ctx, {
    id,
    tenantId,
    kind,
    title,
    description: input.description,
    userId: input.userId ?? null,
    responsibleUserId: input.responsibleUserId,
    scopes,
    roles,
    readOnly: input.readOnly,
    expiresAt: input.expiresAt,
    allowedAddresses: networks,
    value: input.value,
  });
}

async function newRoles(ctx: Context, id: string, kind: Key["kind"], { roles }: NewKey) {
  if (kind === "personal") {
    const message = "A personal key acts with its user's roles.";
    const faults: Fault[] = roles ? [{ pointer: "/roles", rule: "not_supported", message }] : [];
    return { roles: [] as ReadRole[], faults };
  }
  if (kind === "integration" && !roles) {
    const fault: Fault = { pointer: "/roles", rule: "required", message: "roles is missing." };
    return { roles: [] as ReadRole[], faults: [fault] };
  }
  const holder = { tenantId: ctx.who.acting.id, kind: "key", id, deskOnly: kind === "integration" } as const;
  return readRoles(ctx, holder, roles ?? [{ roleId: "integrator" }]);
}

/** A personal key needs its user, the others may name a responsible one: a current user of the very tenant. */
async function ownerFaults(ctx: Context, kind: Key["kind"], input: NewKey): Promise<Fault[]> {
  const [needed, barred] =
    kind === "personal" ? (["userId", "responsibleUserId"] as const) : (["responsibleUserId", "userId"] as const);
  const faults: Fault[] = [];
  const userId = input[needed];
  if (input[barred]) {
    const message = `A ${kind} key has no ${barred}.`;
    faults.push({ pointer: `/${barred}`, rule: "not_supported", message });
  }
  if (kind === "personal" && !userId)
    faults.push({ pointer: "/userId", rule: "required", message: "userId is missing." });
  if (!userId) return faults;
  return [...faults, ...(await userFaults(ctx, ctx.who.acting.id, userId, `/${needed}`))];
}

/** Changes a key; absent members keep, null clears. */
export async function updateKey(ctx: Context, keyId: string, change: KeyChange): Promise<Tagged<Key>> {
  if (change.roles) await lockTree(ctx, false);
  const row = await lockKey(ctx, keyId, "key.manage");
  requireVersion(ctx, row);
  const before = keyOf(row);
  const { networks, faults: networkFaults } = readNetworks(change.allowedAddresses ?? before.allowedAddresses);
  const given = change.roles && (await changedRoles(ctx, row, change.roles));
  const faults = [
    ...titleFaults(row.kind, change.title),
    ...(given?.faults ?? []),
    ...scopeFaults(change.scopes),
    ...(change.expiresAt === before.expiresAt ? [] : expiryFaults(change.expiresAt, ctx.now)),
    ...networkFaults,
  ];
  if (faults.length > 0) throw invalid(faults);
  const after: Key = {
    ...before,
    title: change.title?.normalize("NFC") ?? before.title,
    description: change.description === undefined ? before.description : change.description,
    roles: given?.roles.map(({ roleId, within }) => ({ roleId, within })) ?? before.roles,
    scopes: change.scopes ?? before.scopes,
    readOnly: change.readOnly ?? before.readOnly,
    expiresAt: change.expiresAt === undefined ? before.expiresAt : utc(change.expiresAt),
    allowedAddresses: networks,
    enabled: change.enabled ?? before.enabled,
  };
  const fields = [...shownFields, "enabled" as const].filter(
    (field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]),
  );
  if (fields.length === 0) return { body: before, etag: keyTag(row) };
  await requireMayWiden(ctx, row, after, given?.roles);
  if (fields.includes("enabled") && after.enabled) await requireOwner(ctx, row);
  if (fields.includes("title")) await requireTitle(ctx, row, after.title);
  await ctx.db.run(
    access
      .updateTable("access.key")
      .set({
        title: after.title,
        description: after.description,
        scopes: after.scopes,
        read_only: after.readOnly,
        expires_at: after.expiresAt === null ? null : new Date(after.expiresAt),
        allowed_addresses: after.allowedAddresses,
        enabled: after.enabled,
        disabled_reason: after.enabled ? null : row.disabled_reason,
        updated_at: ctx.now,
        version: sql`version + 1`,
      })
      .where("id", "=", keyId),
  );
  if (fields.includes("roles"))
    await storeRoles(ctx, { tenantId: row.tenant_id, kind: "key", id: keyId }, before.roles, after.roles);
  const stored = await readKey(ctx, keyId);
  const key = keyOf(stored);
  const others = fields.filter((field) => field !== "enabled");
  if (others.length > 0) tellOfKey(ctx, keyUpdated as EventKind, key, { before, fields: others });
  if (fields.includes("enabled"))
    tellOfKey(ctx, (key.enabled ? keyEnabled : keyDisabled) as EventKind, key, { before, fields: ["enabled"] });
  record(ctx, "updated", before, key);
  // What was widened shall count at once too: a cached refusal would last half a minute.
  ctx.forget();
  return { body: key, etag: keyTag(stored) };
}

function utc(value: string | null): string | null {
  return value === null ? null : new Date(value).toISOString();
}

async function changedRoles(ctx: Context, row: KeyFound, roles: NonNullable<KeyChange["roles"]>) {
  if (row.kind === "standard" || row.kind === "integration") {
    requireRecentLogIn(ctx);
    const holder = { tenantId: row.tenant_id, kind: "key", id: row.id, deskOnly: row.kind === "integration" } as const;
    return readRoles(ctx, holder, roles);
  }
  const fault: Fault = {
    pointer: "/roles",
    rule: "not_supported",
    message: `A ${row.kind} key has no roles of its own.`,
  };
  return { roles: [] as ReadRole[], faults: [fault] };
}

/** Roles, scopes and the right to write that the key did not have are handed out; what it keeps or loses is not. */
async function requireMayWiden(ctx: Context, row: KeyFound, after: Key, roles: ReadRole[] | undefined): Promise<void> {
  const added = roles?.filter((role) => !isAmong(row.roles, role)) ?? [];
  requireMayHandOut(ctx, added, after.scopes);
  const before = row.read_only && !after.readOnly ? [] : row.scopes;
  if (after.scopes === row.scopes && before === row.scopes) return;
  const holder = row.kind === "personal" ? row.user_id! : row.id;
  requireMayHandOut(ctx, opened(await heldBy(ctx, row.tenant_id, holder), before), after.scopes);
}

async function requireOwner(ctx: Context, row: KeyFound): Promise<void> {
  if (row.responsible_user_id === null) return;
  const standing = await userStanding(ctx.db, row.responsible_user_id, ctx.now);
  if (!standing?.live || !standing.logsIn) throw refuse(keyOwnerGone);
}

/** A second secret for the same key. It gets at the credential, so the key may hold no more than the caller. */
export async function rotateKey(ctx: Context, keyId: string, input: Rotation | undefined): Promise<Tagged<IssuedKey>> {
  const row = await lockKey(ctx, keyId, "key.issue");
  requireRecentLogIn(ctx);
  const holder = row.kind === "personal" ? row.user_id! : row.id;
  requireMayHandOut(ctx, await heldBy(ctx, row.tenant_id, holder), row.scopes);
  const overlapMinutes = input?.overlapMinutes ?? 1_440;
  const secret = await rotateSecret(ctx, { kind: "key", tenantId: row.tenant_id, id: keyId }, overlapMinutes);
  const touched = { updated_at: ctx.now, version: sql<number>`version + 1` };
  await ctx.db.run(access.updateTable("access.key").set(touched).where("id", "=", keyId));
  const stored = await readKey(ctx, keyId);
  const key = keyOf(stored);
  tellOfKey(ctx, keyRotated as EventKind, key, { before: keyOf(row), fields: ["secrets"] });
  record(ctx, "rotated", keyOf(row), key, {
    more: [
      { field: "secret", old: "***", new: "***" },
      { field: "overlapMinutes", old: null, new: overlapMinutes },
    ],
  });
  ctx.forget();
  return { body: { ...key, secret }, etag: keyTag(stored) };
}

/** Deletes a key; what is deleted already is left alone. */
export async function deleteKey(ctx: Context, keyId: string): Promise<void> {
  const row = await lockKey(ctx, keyId, "key.manage", "all");
  if (row.deleted_at !== null) return;
  requireVersion(ctx, row);
  await endKey(ctx, row);
}

/** Ends the key that the call came with, whatever it may do: whoever finds a leaked key can end it. */
export async function deleteOwnKey(ctx: Context): Promise<void> {
  if (ctx.who.via.kind !== "key") throw refuse(notFound, { detail: "The credential of this call is not a key." });
  // Acting in a tenant below, the key lies behind the wall: better refused than answered as if it had ended.
  if (ctx.who.acting.id !== ctx.who.tenant.id) {
    const message = "A key ends itself in its own tenant: leave Demarc-Tenant out.";
    throw invalid([{ parameter: "Demarc-Tenant", rule: "not_supported", message }]);
  }
  const key = await ctx.db.first(
    access
      .selectFrom("access.key")
      .select("id")
      .where("id", "=", ctx.who.via.id)
      .where("deleted_at", "is", null)
      .forNoKeyUpdate(),
  );
  if (key) await endKey(ctx, await readKey(ctx, key.id));
}

/** Deletes a key that the caller has locked: the title is free at once, the tombstone and the secrets' digests stay. */
export async function endKey(ctx: Context, row: KeyFound): Promise<void> {
  await ctx.db.run(
    access
      .updateTable("access.key")
      .set({ deleted_at: ctx.now, updated_at: ctx.now, version: sql`version + 1` })
      .where("id", "=", row.id),
  );
  await storeRoles(ctx, { tenantId: row.tenant_id, kind: "key", id: row.id }, row.roles, []);
  tellOfKey(ctx, keyDeleted as EventKind, keyOf(row), { gone: true });
  record(ctx, "deleted", keyOf(row), null);
  ctx.forget();
}
