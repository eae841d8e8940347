/** Making a tenant: its row, what every module keeps for it, and its first administrator, in one transaction. */
import { randomInt } from "node:crypto";
import type { Context } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { invalid, Problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { makeUser } from "#modules/directory";
import { assignAdministrator } from "../assignment/operations.ts";
import { tenantEvents } from "../events.ts";
import { requireMayHandOut } from "../hand-out.ts";
import { invite } from "../link/invitation.ts";
import { builtInRoles } from "../roles.ts";
import { standardAuthPolicy, standardLimits } from "../root.ts";
import { access } from "../tables.ts";
import { refuseMisplaced } from "./kind.ts";
import { idsOf } from "./lineage.ts";
import { checkSettings, refuseChosenCode, tenantCodeTaken } from "./operations.ts";
import { findTenant, itemOf, requireIn, shown, type TenantFound, visibleTenants } from "./rows.ts";
import type { CreatedTenant, Features, NewTenant } from "./schema.ts";
import { refuseTaken } from "./siblings.ts";
import { lockTree, tenantDeleting } from "./tree.ts";

/** Off in a new tenant, whatever its parent has. */
const offAtFirst = { beta: false, passwordGrant: false };
const triesOfCode = 5;

export async function createTenant(ctx: Context, input: NewTenant): Promise<CreatedTenant> {
  await lockTree(ctx, false);
  const parent = await findParent(ctx, input.parentId);
  requireIn(ctx, "tenant.create", parent.lineage);
  if (input.planId !== undefined) requireIn(ctx, "plan.assign", parent.lineage);
  if (input.code !== undefined) refuseChosenCode(ctx);
  if (parent.status === "deleting") throw refuse(tenantDeleting);
  refuseMisplaced({ kind: parent.kind, level: parent.lineage.length });
  await checkSettings(ctx, input, parent.lineage);
  const id = newId("tnt", ctx.now.getTime());
  if (input.administrator) refuseBeyondOwn(ctx, id, parent);
  await insertTenant(ctx, id, parent, input);
  const timeZone = input.timeZone ?? parent.time_zone;
  await ctx.prepareTenant({ id, parentId: parent.id, kind: input.kind, name: input.name, timeZone });
  const made = await findTenant(ctx, id, "tenant.read");
  record(ctx, made, parent);
  const administrator = input.administrator && (await makeAdministrator(ctx, id, input.administrator));
  return { ...shown(made, ctx.who), administratorId: null, invitation: null, ...administrator };
}

/** The acting tenant, or one below it that the body names. */
async function findParent(ctx: Context, parentId: string | undefined): Promise<TenantFound> {
  const place = { pointer: "/parentId" };
  const wrong = parentId === undefined ? undefined : idFault("tnt", parentId, place);
  if (wrong) throw invalid([wrong]);
  const row = await ctx.db.first(visibleTenants(ctx).where("t.id", "=", parentId ?? ctx.who.acting.id));
  if (row) return row;
  if (parentId !== undefined) throw invalid([referenceNotFound(place)]);
  // Whoever may not read the acting tenant holds `tenant.create` somewhere below it at most.
  return findTenant(ctx, "self", "tenant.create");
}

function refuseBeyondOwn(ctx: Context, id: string, parent: TenantFound): void {
  const permissions = builtInRoles.get("tenant_administrator")!;
  requireMayHandOut(ctx, [{ permissions, within: { kind: "tenant", id }, lineage: [id, ...idsOf(parent.lineage)] }]);
}

async function insertTenant(ctx: Context, id: string, parent: TenantFound, input: NewTenant): Promise<void> {
  const own = parent.features as Features;
  const exchangeProvider = input.kind === "customer" ? false : own.exchangeProvider;
  const features = { ...own, ...offAtFirst, exchangeProvider, ...input.features };
  for (let tries = 1; ; tries++) {
    const made = await ctx.db.run(
      access
        .insertInto("access.tenant")
        .values({
          id,
          parent_id: parent.id,
          kind: input.kind,
          name: input.name,
          code: input.code ?? codeFor(input.name),
          reference: input.reference ?? null,
          time_zone: input.timeZone ?? parent.time_zone,
          plan_id: input.planId ?? null,
          features: JSON.stringify(features) as never,
          limits: JSON.stringify({ ...standardLimits, ...input.limits }) as never,
          auth_policy: JSON.stringify(standardAuthPolicy) as never,
          status: "active",
          status_reason: null,
          purge_at: null,
          created_at: ctx.now,
          updated_at: ctx.now,
        })
        .onConflict((conflict) => conflict.doNothing()),
    );
    if (made > 0) return;
    await refuseTaken(ctx, parent.id, input);
    // Nothing beside it is in the way, so the code was taken.
    if (input.code !== undefined || tries === triesOfCode) throw refuse(tenantCodeTaken);
  }
}

const codeAlphabet = "23456789abcdefghjkmnpqrstuvwxyz";

/** `acme-7k2q`: the name in the letters of a code, and four characters that nobody chose. */
function codeFor(name: string): string {
  const plain = name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 27)
    .replaceAll(/^-|-$/g, "");
  const random = Array.from({ length: 4 }, () => codeAlphabet[randomInt(codeAlphabet.length)]).join("");
  return `${plain || "tenant"}-${random}`;
}

/** The new tenant's trail begins with its making; the parent's trail says it too. */
function record(ctx: Context, made: TenantFound, parent: TenantFound): void {
  ctx.emit(tenantEvents.created, {
    tenantId: made.id,
    subject: made.id,
    path: `/tenant/${made.id}`,
    resource: shown(made, null),
    previous: null,
    changed: [],
  });
  const { name, kind, code, reference, time_zone: timeZone, plan_id: planId, features, limits } = made;
  const changes = Object.entries({ name, kind, code, reference, timeZone, planId, features, limits })
    .filter(([, value]) => value !== null)
    .map(([field, value]) => ({ field, old: null, new: value }));
  for (const tenantId of [made.id, parent.id]) {
    ctx.audit({ tenantId, type: "tenant", action: "created", item: itemOf(made), changes });
  }
}

type Administrator = NonNullable<NewTenant["administrator"]>;

async function makeAdministrator(
  ctx: Context,
  tenantId: string,
  given: Administrator,
): Promise<Pick<CreatedTenant, "administratorId" | "invitation">> {
  const { username, email, fullname, sendInvitation: mailed = true } = given;
  const { id } = await makeUser(ctx, { tenantId, username, email, fullname }).catch((error) => {
    throw error instanceof Problem ? below("/administrator", error) : error;
  });
  await assignAdministrator(ctx, tenantId, id);
  const user = { id, tenantId, username, fullname, email };
  const { url, expiresAt } = await invite(ctx, user, { mailed, takesUser: true });
  return { administratorId: id, invitation: url === null ? null : { url, expiresAt } };
}

/** A problem of a part of the body, with pointers into the whole. */
function below(pointer: string, { kind, refusal }: Problem): Problem {
  const errors = refusal.errors?.map((fault) =>
    fault.pointer === undefined ? fault : { ...fault, pointer: pointer + fault.pointer },
  );
  return new Problem(kind, { ...refusal, errors });
}
