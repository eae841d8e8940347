import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { grantExceedsOwn } from "../hand-out.ts";
import { Rotation } from "../key/schema.ts";
import { grantRevoked } from "../oauth/events.ts";
import { reauthenticationRequired } from "../step-up.ts";
import { clientCreated, clientDeleted, clientRotated, clientUpdated } from "./events.ts";
import {
  clientIsPublic,
  clientLimitReached,
  createClient,
  deleteClient,
  getClient,
  listClients,
  rotateClient,
  updateClient,
} from "./operations.ts";
import { Client, ClientChange, clientFilters, IssuedClient, NewClient } from "./schema.ts";

export const clientRoutes = [
  route({
    method: "GET",
    path: "/client",
    versions: "v1+",
    id: "listClients",
    summary: "List OAuth clients",
    description: "Deleted ones are not listed. No secret is ever shown again.",
    permission: "client.read",
    query: listQuery(clientFilters, ["createdAt", "updatedAt", "name"], Client),
    replies: { 200: listOf(Client) },
    run: (ctx, { query }) => listClients(ctx, query),
  }),
  route({
    method: "GET",
    path: "/client/{id}",
    versions: "v1+",
    id: "getClient",
    summary: "Read an OAuth client",
    permission: "client.read",
    replies: { 200: Client },
    run: async (ctx, { params }) => {
      const { body, etag } = await getClient(ctx, params.id);
      return new Reply(200, body, { etag });
    },
  }),
  route({
    method: "POST",
    path: "/client",
    versions: "v1+",
    id: "createClient",
    summary: "Register an OAuth client",
    description: "A service account, or an application of others. The reply alone holds the secret.",
    permission: "client.manage",
    body: NewClient,
    replies: { 201: IssuedClient },
    secret: "secret",
    problems: [clientLimitReached, grantExceedsOwn, reauthenticationRequired],
    emits: [clientCreated],
    run: async (ctx, { body }) => {
      const { body: client, etag } = await createClient(ctx, body);
      return new Reply(201, client, { location: `/client/${client.id}`, etag });
    },
  }),
  route({
    method: "PATCH",
    path: "/client/{id}",
    versions: "v1+",
    id: "updateClient",
    summary: "Change an OAuth client",
    permission: "client.manage",
    body: ClientChange,
    replies: { 200: Client },
    problems: [grantExceedsOwn, reauthenticationRequired],
    emits: [clientUpdated],
    run: async (ctx, { params, body }) => {
      const { body: client, etag } = await updateClient(ctx, params.id, body);
      return new Reply(200, client, { etag });
    },
  }),
  route({
    method: "POST",
    path: "/client/{id}/rotate",
    versions: "v1+",
    id: "rotateClient",
    summary: "Give an OAuth client a new secret",
    description: "As with keys: the old secret works for `overlapMinutes` more.",
    permission: "client.manage",
    body: Rotation,
    bodyOptional: true,
    replies: { 200: IssuedClient },
    secret: "secret",
    problems: [clientIsPublic, grantExceedsOwn, reauthenticationRequired],
    emits: [clientRotated],
    run: async (ctx, { params, body }) => {
      const { body: client, etag } = await rotateClient(ctx, params.id, body);
      return new Reply(200, client, { etag });
    },
  }),
  route({
    method: "DELETE",
    path: "/client/{id}",
    versions: "v1+",
    id: "deleteClient",
    summary: "Delete an OAuth client",
    description: "Its grants and tokens end with it. Deleting it again answers 204 too.",
    permission: "client.manage",
    replies: { 204: null },
    emits: [clientDeleted, grantRevoked],
    run: async (ctx, { params }) => void (await deleteClient(ctx, params.id)),
  }),
];
