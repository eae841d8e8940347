import { type Static, Type } from "typebox";
import { permissions } from "#kernel/permissions";
import { id, instant, nullable, object, oneOf } from "#kernel/schema";
import { withinKinds } from "../assignment/schema.ts";
import { Lanes } from "../plan/schema.ts";
import { featureNames, tenantKinds } from "../tenant/schema.ts";

const Place = object({
  id: id("tnt"),
  code: Type.String(),
  name: Type.String(),
  kind: oneOf(tenantKinds),
  timeZone: Type.String(),
});

export const CallingPrincipal = object(
  {
    actor: object({ kind: oneOf(["user", "client", "key", "system"]), id: Type.String(), name: Type.String() }),
    onBehalfOf: nullable(object({ id: id("usr"), name: Type.String() })),
    tenant: Place,
    actingTenant: Place,
    via: object({
      kind: oneOf(["key", "token", "session", "job", "link"]),
      id: Type.String(),
      hint: nullable(Type.String({ description: "Public start of the key." })),
      clientId: nullable(Type.String()),
      grantId: nullable(Type.String()),
    }),
    scopes: Type.Array(Type.String()),
    readOnly: Type.Boolean(),
    authTime: nullable(instant),
    permissions: Type.Array(
      object({
        name: oneOf(permissions),
        everywhere: Type.Boolean({ description: "In the whole of the acting tenant and all below it." }),
        within: Type.Array(object({ kind: oneOf(withinKinds), id: Type.String() }), {
          description: "Where it is held, unless everywhere.",
        }),
      }),
      { description: "What this credential may use, under its scopes, as of this call." },
    ),
    letters: Type.String({ description: "The same in the letters of Highlight; `H`: nothing at all." }),
    effectiveFeatures: object(
      Object.fromEntries(featureNames.map((name) => [name, Type.Boolean()])) as Record<
        (typeof featureNames)[number],
        ReturnType<typeof Type.Boolean>
      >,
    ),
    plan: object({ lanes: Lanes }, { description: "The limits of the credential's tenant." }),
  },
  { title: "CallingPrincipal" },
);
export type CallingPrincipal = Static<typeof CallingPrincipal>;
