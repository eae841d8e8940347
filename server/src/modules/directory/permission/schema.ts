import { type Static, Type } from "typebox";
import { listOf } from "#kernel/page";
import { permissions, services } from "#kernel/permissions";
import { anyOf, object, oneOf } from "#kernel/schema";

export const permissionClasses = ["record", "supervisor"] as const;
export const PermissionEntry = object(
  {
    name: oneOf(permissions),
    class: oneOf(permissionClasses, {
      description: "`record`: on persons, along the org units; `supervisor`: all others.",
    }),
    module: oneOf(services),
    sentence: Type.String({ description: "What its holder may do." }),
    implies: Type.Array(oneOf(permissions), { description: "What comes with it." }),
    providerOnly: Type.Boolean({ description: "Held by the provider's users and credentials alone." }),
  },
  { title: "PermissionEntry" },
);
export type PermissionEntry = Static<typeof PermissionEntry>;

export const PermissionQuery = object({
  class: Type.Optional(anyOf(oneOf(permissionClasses))),
  module: Type.Optional(anyOf(oneOf(services))),
});
export type PermissionQuery = Static<typeof PermissionQuery>;
export const PermissionList = listOf(PermissionEntry);
