import { type Static, Type } from "typebox";
import { anyOf, id, instant, line, nullable, object, oneOf, text } from "#kernel/schema";
import { newRolesSchema, rolesSchema, Secret, scopesSchema } from "../key/schema.ts";

export const clientKinds = ["service", "application"] as const;

const examples = ["Billing export"];
const name = line(100, { examples });
const redirectUris = Type.Array(Type.String({ minLength: 1, maxLength: 2_000 }), {
  maxItems: 20,
  uniqueItems: true,
  description: "Of applications: exact addresses; https, or http to a loopback address, whose port is then any.",
  examples: [["https://app.example.com/callback"]],
});
const accessTokenSeconds = Type.Integer({
  minimum: 60,
  maximum: 3_600,
  description: "How long its access tokens live; 3600 for services, 600 for applications unless said otherwise.",
});

const members = {
  id: id("cli"),
  tenantId: id("tnt"),
  kind: oneOf(clientKinds, { description: "A service acts for itself, an application for the users who let it." }),
  name: text(100, { examples }),
  roles: rolesSchema,
  scopes: scopesSchema,
  redirectUris,
  public: Type.Boolean({ description: "An application that cannot keep a secret, so it has none." }),
  accessTokenSeconds,
  enabled: Type.Boolean(),
  secrets: Type.Array(Secret, { description: "The live ones: two while a rotation overlaps." }),
  lastUsedAt: nullable(instant),
  createdBy: Type.String({ description: "Id of the principal." }),
  createdAt: instant,
  updatedAt: instant,
};
const written = ["name", "roles", "scopes", "redirectUris", "accessTokenSeconds"];
const readOnlyMembers = (...writable: string[]) =>
  [...Object.keys(members), "secret"].filter((one) => !writable.includes(one));

export const Client = object(members, { title: "Client" });
export type Client = Static<typeof Client>;
/** A client with a secret that was just made; null for public ones. */
export const IssuedClient = object(
  {
    ...members,
    secret: nullable(
      Type.String({ description: "Here and nowhere else. Null for public clients, and in a replay after 10 minutes." }),
    ),
  },
  { title: "IssuedClient" },
);
export type IssuedClient = Static<typeof IssuedClient>;

export const NewClient = object(
  {
    kind: members.kind,
    name,
    roles: Type.Optional(newRolesSchema),
    scopes: Type.Optional(scopesSchema),
    redirectUris: Type.Optional(redirectUris),
    public: Type.Optional(members.public),
    accessTokenSeconds: Type.Optional(accessTokenSeconds),
  },
  { title: "NewClient", "x-read-only": readOnlyMembers("kind", "public", ...written) },
);
export type NewClient = Static<typeof NewClient>;

export const ClientChange = object(
  {
    name: Type.Optional(name),
    roles: Type.Optional(newRolesSchema),
    scopes: Type.Optional(scopesSchema),
    redirectUris: Type.Optional(redirectUris),
    accessTokenSeconds: Type.Optional(accessTokenSeconds),
    enabled: Type.Optional(Type.Boolean()),
  },
  { title: "ClientChange", "x-read-only": readOnlyMembers("enabled", ...written) },
);
export type ClientChange = Static<typeof ClientChange>;

export const clientFilters = {
  kind: anyOf(oneOf(clientKinds)),
  enabled: Type.Boolean(),
  tenantId: anyOf(id("tnt")),
  updatedSince: instant,
  q: Type.String({ minLength: 1, maxLength: 200, description: "Part of the name, ignoring case." }),
};
