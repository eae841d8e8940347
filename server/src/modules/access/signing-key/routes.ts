import { route } from "#kernel/contract";
import { signingKeyRotated } from "./events.ts";
import { listSigningKeys, rotateSigningKeys } from "./operations.ts";
import { Rotation, SigningKeys } from "./schema.ts";

export const signingKeyRoutes = [
  route({
    method: "GET",
    path: "/signing-key",
    versions: "v1+",
    id: "listSigningKeys",
    summary: "List the keys that sign access tokens",
    permission: "signingKey.manage",
    replies: { 200: SigningKeys },
    run: (ctx) => listSigningKeys(ctx),
  }),
  route({
    method: "POST",
    path: "/signing-key/rotate",
    versions: "v1+",
    id: "rotateSigningKey",
    summary: "Let the next key sign, or drop every key in an emergency",
    permission: "signingKey.manage",
    emits: [signingKeyRotated],
    transaction: "own",
    body: Rotation,
    bodyOptional: true,
    replies: { 200: SigningKeys },
    run: (ctx, { body }) => rotateSigningKeys(ctx, body?.emergency ?? false),
  }),
];
