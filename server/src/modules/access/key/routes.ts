import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { grantExceedsOwn } from "../hand-out.ts";
import { reauthenticationRequired } from "../step-up.ts";
import { providerOnlyProperty } from "../tenant/rows.ts";
import { keyCreated, keyDeleted, keyDisabled, keyEnabled, keyReassigned, keyRotated, keyUpdated } from "./events.ts";
import {
  createKey,
  deleteKey,
  deleteOwnKey,
  getKey,
  keyOwnerGone,
  listKeys,
  rotateKey,
  updateKey,
} from "./operations.ts";
import { keyLimitReached, keyTitleTaken } from "./place.ts";
import { keyNotReassignable, reassignKey } from "./reassign.ts";
import { requireMayIssue } from "./rights.ts";
import { IssuedKey, Key, KeyChange, keyFilters, NewKey, Reassignment, Rotation } from "./schema.ts";

export const keyRoutes = [
  route({
    method: "GET",
    path: "/key",
    versions: "v1+",
    id: "listKeys",
    summary: "List keys",
    description: "Deleted ones are not listed. No secret is ever shown again.",
    permission: "key.read",
    query: listQuery(keyFilters, ["createdAt", "updatedAt", "title"], Key),
    replies: { 200: listOf(Key) },
    run: (ctx, { query }) => listKeys(ctx, query),
  }),
  route({
    method: "GET",
    path: "/key/{id}",
    versions: "v1+",
    id: "getKey",
    summary: "Read a key",
    description: '`ETag` is `"<version>-<use>"`: it changes when the key is used, which makes no edit stale.',
    permission: "key.read",
    replies: { 200: Key },
    run: async (ctx, { params }) => {
      const { body, etag } = await getKey(ctx, params.id);
      return new Reply(200, body, { etag });
    },
  }),
  route({
    method: "POST",
    path: "/key",
    versions: "v1+",
    id: "createKey",
    summary: "Issue a key",
    description:
      "Needs `key.issue`; a user issues personal keys for itself where `authPolicy.selfServiceKeys` allows it. The reply alone holds the secret. A standard key made without `roles` gets `integrator`. With `value` the provider brings along a key of another system.",
    // Not `key.issue`: the door cannot know of self-service. The operation asks for it before anything else.
    permission: "any",
    admits: requireMayIssue,
    body: NewKey,
    replies: { 201: IssuedKey },
    secret: "secret",
    problems: [keyTitleTaken, keyLimitReached, grantExceedsOwn, reauthenticationRequired, providerOnlyProperty],
    emits: [keyCreated],
    run: async (ctx, { body }) => {
      const { body: key, etag } = await createKey(ctx, body);
      return new Reply(201, key, { location: `/key/${key.id}`, etag });
    },
  }),
  route({
    method: "PATCH",
    path: "/key/{id}",
    versions: "v1+",
    id: "updateKey",
    summary: "Change a key",
    permission: "key.manage",
    body: KeyChange,
    replies: { 200: Key },
    problems: [keyTitleTaken, keyOwnerGone, grantExceedsOwn, reauthenticationRequired],
    emits: [keyUpdated, keyEnabled, keyDisabled],
    run: async (ctx, { params, body }) => {
      const { body: key, etag } = await updateKey(ctx, params.id, body);
      return new Reply(200, key, { etag });
    },
  }),
  route({
    method: "POST",
    path: "/key/{id}/rotate",
    versions: "v1+",
    id: "rotateKey",
    summary: "Give a key a new secret",
    description:
      "Id, title, roles and history stay. The old secret works for `overlapMinutes` more; rotated again meanwhile, it ends at once.",
    permission: "key.issue",
    body: Rotation,
    bodyOptional: true,
    replies: { 200: IssuedKey },
    secret: "secret",
    problems: [grantExceedsOwn, reauthenticationRequired],
    emits: [keyRotated],
    run: async (ctx, { params, body }) => {
      const { body: key, etag } = await rotateKey(ctx, params.id, body);
      return new Reply(200, key, { etag });
    },
  }),
  route({
    method: "POST",
    path: "/key/{id}/reassign",
    versions: "v1+",
    id: "reassignKey",
    summary: "Hand a key over to another responsible user",
    description:
      "Standard and integration keys; the secret stays. A key that was disabled because its user had gone (`owner_gone`) can be enabled again afterwards.",
    permission: "key.manage",
    body: Reassignment,
    replies: { 200: Key },
    problems: [keyNotReassignable],
    emits: [keyReassigned],
    run: async (ctx, { params, body }) => {
      const { body: key, etag } = await reassignKey(ctx, params.id, body);
      return new Reply(200, key, { etag });
    },
  }),
  route({
    method: "DELETE",
    path: "/key/self",
    versions: "v1+",
    id: "deleteOwnKey",
    summary: "End the key that this call is made with",
    description: "Needs no permission, and read-only keys may: whoever finds a leaked key can end it.",
    permission: "any",
    // Open to read-only keys; the operation brings its own transaction.
    effect: "read",
    replies: { 204: null },
    emits: [keyDeleted],
    run: async (ctx) => void (await ctx.transaction(deleteOwnKey)),
  }),
  route({
    method: "DELETE",
    path: "/key/{id}",
    versions: "v1+",
    id: "deleteKey",
    summary: "Delete a key",
    description: "It is refused from the next call on, and its title is free. Deleting it again answers 204 too.",
    permission: "key.manage",
    replies: { 204: null },
    emits: [keyDeleted],
    run: async (ctx, { params }) => void (await deleteKey(ctx, params.id)),
  }),
];
