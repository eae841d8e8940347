/**
 * Custom roles through their two faces (directory, A2 and A4.13): roles by `externalId`, supervisor privileges by name.
 * Rows, rights and evaluation are those of `access`.
 */
import type { TSchema } from "typebox";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { requireMatch } from "#kernel/match";
import { holdsIn, lacking } from "#kernel/principal";
import { invalid, notFound, type ProblemKind, refuse, stale } from "#kernel/problem";
import {
  type CustomRole,
  deleteCustomRole,
  findCustomRole,
  isAdministrator,
  lineageOf,
  listCustomRoles,
  lockRoles,
  mostRoles,
  type RoleFace,
  type RoleFilters,
  type RoleObstacle,
  readSwitches,
  storeCustomRole,
} from "#modules/access";
import { privilegeEvents, roleEvents } from "../events.ts";
import { lastAdministrator } from "../user/problems.ts";
import { limitOfKindReached, privilegeFixed, privilegeInUse, roleInUse } from "./problems.ts";
import { type NewRole, Role, SupervisorPrivilege } from "./schema.ts";

type Face = {
  face: RoleFace;
  noun: string;
  path: string;
  schema: TSchema;
  events: Record<"created" | "updated" | "deleted", EventKind>;
  inUse: ProblemKind;
};
export const asRole: Face = {
  face: "role",
  noun: "role",
  path: "role",
  schema: Role,
  get events() {
    return roleEvents as unknown as Face["events"];
  },
  inUse: roleInUse,
};
export const asPrivilege: Face = {
  face: "privilege",
  noun: "supervisor privilege",
  path: "supervisor-privilege",
  schema: SupervisorPrivilege,
  get events() {
    return privilegeEvents as unknown as Face["events"];
  },
  inUse: privilegeInUse,
};

type ListInput = RoleFilters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
export type Written = { role: CustomRole; outcome: "created" | "updated" | "unchanged" };

export function listRoles(ctx: Context, { face }: Face, input: ListInput) {
  return listCustomRoles(ctx, face, input);
}

export async function getRole(ctx: Context, { face }: Face, key: string): Promise<CustomRole> {
  const role = await findCustomRole(ctx, face, key);
  if (!role) throw refuse(notFound);
  return role;
}

/** Makes the role of this key in the acting tenant, or writes what is given of it (A4.1 to A4.4). */
export async function upsertRole(
  ctx: Context,
  face: Face,
  given: Omit<NewRole, "externalId"> & { externalId?: string },
): Promise<Written> {
  const { acting } = ctx.who;
  if (!holdsIn(ctx.who, "role.write", acting)) throw lacking("role.write");
  const { switches, faults } = readSwitches(given, acting.parentId === null);
  if (faults.length > 0) throw invalid(faults);
  if (face === asPrivilege && isAdministrator(given.name)) throw fixed();
  await lockRoles(ctx, acting.id);
  const before = (await findCustomRole(ctx, face.face, given.externalId ?? given.name)) ?? null;
  guard(ctx, face, before);
  const next = {
    externalId: given.externalId ?? null,
    // The key of a privilege stays as first spelled.
    name: before && face === asPrivilege ? before.name : given.name,
    permissions: switches ?? before?.permissions ?? {},
    shared: given.shared === undefined ? (before?.shared ?? false) : (given.shared ?? false),
  };
  if (before && changesOf(before, next, writtenFields).length === 0) return { role: before, outcome: "unchanged" };
  const role = await storeCustomRole(ctx, face.face, acting.id, before, next);
  if (typeof role === "string") throw impossible(face, role, given.name);
  tell(ctx, face, before, role);
  return { role, outcome: before ? "updated" : "created" };
}

function guard(ctx: Context, { schema }: Face, before: CustomRole | null): void {
  if (!before) {
    if (ctx.call.ifMatch) throw refuse(stale);
    return;
  }
  if (ctx.call.ifNoneMatch?.includes("*")) throw refuse(stale);
  requireMatch(ctx, schema, before);
}

/** `absent`: there is nothing, or nothing that the caller may see. */
export async function deleteRole(ctx: Context, face: Face, key: string): Promise<"deleted" | "absent"> {
  const seen = await findCustomRole(ctx, face.face, key);
  if (!seen) return "absent";
  if (seen.tenantId === null) throw lacking("role.write");
  const lineage = await lineageOf(ctx, seen.tenantId);
  if (!lineage || !holdsIn(ctx.who, "role.write", { lineage })) throw lacking("role.write");
  if (face === asPrivilege && isAdministrator(seen.name)) throw fixed();
  await lockRoles(ctx, seen.tenantId);
  const role = await findCustomRole(ctx, face.face, seen.id);
  if (!role) return "absent";
  requireMatch(ctx, face.schema, role);
  const obstacle = await deleteCustomRole(ctx, role);
  if (obstacle) throw impossible(face, obstacle, role.name);
  tell(ctx, face, role, null);
  return "deleted";
}

function fixed() {
  return refuse(privilegeFixed, { detail: "The privilege Administrator allows everything, in every tenant." });
}

function impossible({ noun, inUse }: Face, obstacle: RoleObstacle, name: string) {
  const fault = (pointer: string, rule: string, message: string) => [{ pointer, rule, message }];
  switch (obstacle) {
    case "name_taken":
      return invalid(fault("/name", "not_unique", `The tenant has another ${noun} named '${name}'.`));
    case "full":
      return refuse(limitOfKindReached, { detail: `A tenant has at most ${mostRoles} of them; delete one first.` });
    case "in_use":
      return refuse(inUse, { detail: `'${name}' is held: take it from its holders first.` });
    case "below":
      return invalid(fault("/shared", "in_use", `Tenants below have given '${name}' to theirs.`), inUse);
    case "last_administrator":
      return refuse(lastAdministrator, {
        detail: `Without what '${name}' allows, nobody could administer the tenant any more.`,
      });
  }
}

const writtenFields = ["name", "permissions", "shared"];
const shownFields = ["externalId", ...writtenFields];

function tell(ctx: Context, { events, path, schema }: Face, before: CustomRole | null, after: CustomRole | null): void {
  const role = (after ?? before)!;
  const tenantId = role.tenantId!;
  const action = !before ? "created" : after ? "updated" : "deleted";
  const known = Object.keys((schema as { properties?: object }).properties ?? {});
  const changes = changesOf(
    before,
    after,
    shownFields.filter((field) => known.includes(field)),
  );
  ctx.emit(events[action], {
    tenantId,
    subject: role.id,
    path: `/${path}/${role.id}`,
    resource: after && Object.fromEntries(Object.entries(after).filter(([field]) => known.includes(field))),
    previous: action === "updated" ? Object.fromEntries(changes.map(({ field, old }) => [field, old])) : null,
    changed: action === "updated" ? changes.map(({ field }) => field) : [],
  });
  ctx.audit({ tenantId, type: "role", action, item: { kind: path, id: role.id, name: role.name }, changes });
}
