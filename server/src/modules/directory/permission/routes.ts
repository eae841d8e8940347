import { route } from "#kernel/contract";
import { permissions, providerOnly, serviceOf, withImplied } from "#kernel/permissions";
import { type PermissionEntry, PermissionList, PermissionQuery } from "./schema.ts";
import { sentences } from "./sentences.ts";

const catalogue: readonly PermissionEntry[] = permissions.map((name) => ({
  name,
  class: name.startsWith("person.") ? "record" : "supervisor",
  module: serviceOf(name)!,
  sentence: sentences[name],
  implies: permissions.filter((other) => other !== name && withImplied([name]).has(other)),
  providerOnly: providerOnly.has(name),
}));

function listPermissions(wanted: PermissionQuery): PermissionEntry[] {
  return catalogue.filter(
    (entry) => (wanted.class?.includes(entry.class) ?? true) && (wanted.module?.includes(entry.module) ?? true),
  );
}

export const permissionRoutes = [
  route({
    method: "GET",
    path: "/permission",
    versions: "v1+",
    id: "listPermissions",
    summary: "List all permissions there are",
    description: "On one page: the catalogue that roles, scopes and refusals name.",
    permission: "any",
    query: PermissionQuery,
    replies: { 200: PermissionList },
    run: (_ctx, { query }) => ({ items: listPermissions(query), nextCursor: null, nextLink: null }),
  }),
];
