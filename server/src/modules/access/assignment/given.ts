/** What the body of an assignment means: its principal, its role, its place; every fault on its own pointer. */
import type { Context } from "#kernel/contract";
import { idKind } from "#kernel/ids";
import { type Permission, providerOnly, serviceOf } from "#kernel/permissions";
import { holdsIn, lacking, type Within } from "#kernel/principal";
import { type Fault, invalid, referenceNotFound } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { nearest } from "#kernel/validate";
import { tenantOfUser } from "#modules/directory";
import { builtInOf } from "../role/rows.ts";
import { allowedBy, builtInRoles, heldWithin } from "../roles.ts";
import { access } from "../tables.ts";
import { lineageOf } from "../tenant/lineage-of.ts";
import type { NewAssignment } from "./schema.ts";

export type Principal = NewAssignment["principal"];
type Holder = Principal & { tenantId: string; lineage: string[]; deskOnly: boolean };
type Role = { id: string; permissions: ReadonlySet<Permission> };
export type Place = { within: Within; lineage: string[] };

const principals = {
  user: { prefix: "usr", read: "user.read" },
  client: { prefix: "cli", read: "client.read" },
  key: { prefix: "key", read: "key.read" },
} as const;

/** Who gets the role. The caller must hold `role.assign` in the whole of its tenant. */
export async function findHolder(ctx: Context, principal: Principal): Promise<Holder> {
  const place = { pointer: "/principal/id" };
  const { prefix, read } = principals[principal.kind];
  const wrong = idFault(prefix, principal.id, place);
  if (wrong) throw invalid([wrong]);
  const found = await find(ctx, principal);
  const lineage = found && (await lineageOf(ctx, found.tenantId));
  const mayAssign = lineage && holdsIn(ctx.who, "role.assign", { lineage });
  if (!lineage || (!mayAssign && !holdsIn(ctx.who, read, { lineage }))) throw invalid([referenceNotFound(place)]);
  if (!mayAssign) throw lacking("role.assign");
  if (found.keyKind === "personal" || found.keyKind === "bound") {
    const message =
      found.keyKind === "personal"
        ? "A personal key acts with its user's roles."
        : "A bound key has the roles it was made with.";
    throw invalid([{ ...place, rule: "not_supported", message }]);
  }
  return { ...principal, tenantId: found.tenantId, lineage, deskOnly: found.keyKind === "integration" };
}

async function find(
  ctx: Context,
  { kind, id }: Principal,
): Promise<{ tenantId: string; keyKind?: string } | undefined> {
  if (kind === "user") {
    const tenantId = await tenantOfUser(ctx.db, id);
    return tenantId === undefined ? undefined : { tenantId };
  }
  if (kind === "client") {
    return ctx.db.first(
      access
        .selectFrom("access.client")
        .select("tenant_id as tenantId")
        .where("id", "=", id)
        .where("deleted_at", "is", null),
    );
  }
  return ctx.db.first(
    access
      .selectFrom("access.key")
      .select(["tenant_id as tenantId", "kind as keyKind"])
      .where("id", "=", id)
      .where("deleted_at", "is", null),
  );
}

/** A role that the principal may have: built in, of its own tenant, or shared by a tenant above. */
export async function findRole(ctx: Context, roleId: string, holder: Holder): Promise<Role> {
  const pointer = "/roleId";
  const builtIn = builtInOf(roleId, holder.tenantId);
  if (builtIn) return findRole(ctx, builtIn, holder);
  const permissions = builtInRoles.get(roleId) ?? (await customRole(ctx, roleId, holder));
  if (!permissions) throw invalid([unknownRole(roleId, pointer)]);
  const isRoot = holder.lineage.length === 1;
  if (!isRoot && [...permissions].some((name) => providerOnly.has(name))) {
    throw invalid([
      { pointer, rule: "not_supported", message: "The role is for the provider's own users and credentials." },
    ]);
  }
  if (
    holder.deskOnly &&
    roleId !== "desk_administrator" &&
    [...permissions].some((name) => serviceOf(name) !== "desk")
  ) {
    throw invalid([{ pointer, rule: "not_supported", message: "An integration key has roles of the desk only." }]);
  }
  return { id: roleId, permissions };
}

const isCustom = (roleId: string) => ["rol", "spv"].includes(idKind(roleId) ?? "");

async function customRole(ctx: Context, roleId: string, holder: Holder) {
  if (!isCustom(roleId)) return undefined;
  const row = await ctx.db.first(
    access
      .selectFrom("access.role")
      .select("permissions")
      .where("id", "=", roleId)
      .where((where) =>
        where.or([
          where("tenant_id", "=", holder.tenantId),
          where.and([where("shared", "=", true), where("tenant_id", "in", holder.lineage)]),
        ]),
      ),
  );
  return row && allowedBy(row.permissions);
}

function unknownRole(roleId: string, pointer: string): Fault {
  if (isCustom(roleId)) return referenceNotFound({ pointer });
  const hint = nearest(roleId, [...builtInRoles.keys()]);
  return { pointer, rule: "not_found", message: `There is no role ${roleId}.`, ...(hint ? { hint } : {}) };
}

/** Two of the desk's roles are made for a part of the tenant (access, section 3). */
function usualKind(roleId: string): Within["kind"] {
  return roleId === "support_rep" ? "groups" : roleId === "requester" ? "own" : "tenant";
}

/** Where the role is to count: a tenant at or below the principal's, or a node of a kind that the role's services know. */
export async function findPlace(
  ctx: Context,
  given: NewAssignment["within"],
  holder: Holder,
  role: Role,
): Promise<Place> {
  const kind = given?.kind ?? usualKind(role.id);
  const pointer = "/within/id";
  if (role.id === "requester" && kind !== "own") {
    throw invalid([
      { pointer: "/within/kind", rule: "not_supported", message: "A requester is always limited to its own." },
    ]);
  }
  if (role.permissions.size > 0 && heldWithin(role.permissions, kind).size === 0) {
    const message = `No service of ${role.id} knows the limit ${kind}: the role would give nothing.`;
    throw invalid([{ pointer: "/within/kind", rule: "not_supported", message }]);
  }
  if (kind === "groups" || kind === "own") {
    if (given?.id !== undefined && given.id !== holder.tenantId) {
      throw invalid([
        { pointer, rule: "not_supported", message: `${kind} names no place of its own: leave the id out.` },
      ]);
    }
    return { within: { kind, id: holder.tenantId }, lineage: holder.lineage };
  }
  if (given && given.id === undefined) {
    throw invalid([{ pointer, rule: "required", message: `The id of the ${kind} is missing.` }]);
  }
  const id = given?.id ?? holder.tenantId;
  const tenantId = kind === "tenant" ? id : await tenantOfNode(ctx, kind, id);
  const wrong = kind === "tenant" ? idFault("tnt", id, { pointer }) : undefined;
  if (wrong) throw invalid([wrong]);
  const lineage =
    tenantId === holder.tenantId ? holder.lineage : tenantId === undefined ? undefined : await lineageOf(ctx, tenantId);
  if (!lineage?.includes(holder.tenantId)) throw invalid([referenceNotFound({ pointer })]);
  return { within: { kind, id }, lineage };
}

async function tenantOfNode(ctx: Context, kind: string, id: string): Promise<string | undefined> {
  const nodes = await ctx.findNodes(kind, [id]);
  if (!nodes) {
    throw invalid([
      { pointer: "/within/kind", rule: "not_supported", message: `There is no ${kind} in this installation.` },
    ]);
  }
  return nodes.get(id);
}
