import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { type Permission, permissions } from "#kernel/permissions";
import { anyOf, id, instant, line, nullable, object, oneOf, text } from "#kernel/schema";

const switchesOf = <S extends Type.TSchema>(one: S, description: string) =>
  object(
    Object.fromEntries(permissions.map((name) => [name, Type.Optional(one)])) as Record<Permission, Type.TOptional<S>>,
    { description },
  );
const shown = switchesOf(
  oneOf(["allow", "deny"]),
  "What is left out inherits. What an allowed permission implies is allowed with it.",
);
const given = switchesOf(
  oneOf(["allow", "deny", "inherit"]),
  "Only `allow` grants. `deny` bites in record permissions along the org units alone.",
);
const name = line(100, { description: "Unique in the tenant, ignoring case.", examples: ["Site manager"] });
const externalId = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: "^[A-Za-z0-9._:\\-]+$",
  description: "The caller's own key of the role, compared exactly.",
  examples: ["SITE-MANAGER"],
});
const shared = Type.Boolean({ description: "Tenants below may give it to theirs, and cannot change it." });

const parts = (prefix: "rol" | "spv") => ({
  id: id(prefix),
  tenantId: nullable(id("tnt", { description: "null: a tenant above shares it." })),
});
const stamps = { createdAt: instant, updatedAt: instant };
const serverSet = ["id", "tenantId", "createdAt", "updatedAt"];
const written = {
  permissions: Type.Optional(nullable(given)),
  letters: Type.Optional(
    nullable(
      Type.String({
        maxLength: 26,
        description:
          "In place of `permissions`: letters of Highlight. The base, `watch.read`, comes with any of them and with none; `H` alone is nothing at all.",
        examples: ["WCSU"],
      }),
    ),
  ),
  shared: Type.Optional(nullable(shared)),
};

export const Role = object(
  { ...parts("rol"), externalId, name, permissions: shown, shared, ...stamps },
  { title: "Role" },
);
export type Role = Static<typeof Role>;
export const NewRole = object({ externalId, name, ...written }, { title: "NewRole", "x-read-only": serverSet });
export type NewRole = Static<typeof NewRole>;

export const SupervisorPrivilege = object(
  { ...parts("spv"), name, permissions: shown, shared, ...stamps },
  { title: "SupervisorPrivilege" },
);
export type SupervisorPrivilege = Static<typeof SupervisorPrivilege>;
export const NewSupervisorPrivilege = object(
  { name, ...written },
  { title: "NewSupervisorPrivilege", "x-read-only": serverSet },
);
export type NewSupervisorPrivilege = Static<typeof NewSupervisorPrivilege>;

const filters = {
  tenantId: anyOf(id("tnt")),
  name: text(100, { description: "Ignoring case." }),
  shared: Type.Boolean(),
  updatedSince: instant,
  q: text(200, { description: "Part of the name or key, ignoring case." }),
};
const sorts = ["createdAt", "updatedAt", "name"] as const;
export const RoleQuery = listQuery({ ...filters, externalId: anyOf(externalId) }, sorts, Role);
export const RoleList = listOf(Role);
export const SupervisorPrivilegeQuery = listQuery(filters, sorts, SupervisorPrivilege);
export const SupervisorPrivilegeList = listOf(SupervisorPrivilege);
