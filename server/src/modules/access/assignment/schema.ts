import { type Static, Type } from "typebox";
import { id, instant, object, oneOf } from "#kernel/schema";

export const principalKinds = ["user", "client", "key"] as const;
export const withinKinds = ["tenant", "folder", "location", "orgunit", "groups", "own"] as const;

const roleId = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "The name of a built-in role, or the id of a custom one.",
  examples: ["integrator", "rol_01jd8w6r7qf0ztb5c2m9x4k3en"],
});
const Principal = object({
  kind: oneOf(principalKinds),
  id: Type.String({ minLength: 1, maxLength: 64 }),
});

export const Assignment = object(
  {
    id: id("asg"),
    tenantId: id("tnt", { description: "The principal's tenant." }),
    principal: Principal,
    roleId,
    within: object({ kind: oneOf(withinKinds), id: Type.String() }),
    createdAt: instant,
    createdBy: Type.String(),
  },
  { title: "Assignment" },
);
export type Assignment = Static<typeof Assignment>;

export const NewAssignment = object(
  {
    principal: Principal,
    roleId,
    within: Type.Optional(
      object(
        {
          kind: oneOf(withinKinds),
          id: Type.Optional(
            Type.String({ minLength: 1, maxLength: 64, description: "Left out for `groups` and `own` alone." }),
          ),
        },
        {
          description:
            "What the role is limited to. Left out: the principal's tenant; `groups` for support_rep, `own` for requester.",
        },
      ),
    ),
  },
  { "x-read-only": ["id", "tenantId", "createdAt", "createdBy"] },
);
export type NewAssignment = Static<typeof NewAssignment>;
