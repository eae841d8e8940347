import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { Operation, operationEvents, operationNotCancellable, operationStatuses } from "#kernel/operations";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, oneOf } from "#kernel/schema";
import { tenantDeletionCancelled } from "#modules/access";
import { cancelOperation, getOperation, listOperations } from "./operations.ts";

const filters = {
  kind: anyOf(Type.String({ minLength: 1, maxLength: 100 })),
  status: anyOf(oneOf(operationStatuses)),
  subject: anyOf(Type.String({ minLength: 1, maxLength: 100 })),
  correlationId: Type.String({ minLength: 1, maxLength: 128 }),
  ownerId: anyOf(Type.String({ minLength: 1, maxLength: 100 })),
};

export const operationRoutes = [
  route({
    method: "GET",
    path: "/operation",
    versions: "v1+",
    id: "listOperations",
    summary: "List operations",
    description:
      "One's own; with `operation.read` all of the acting tenant and those below it. Kept 30 days after their end.",
    permission: "any",
    query: listQuery(filters, ["createdAt"], Operation),
    replies: { 200: listOf(Operation) },
    run: (ctx, { query }) => listOperations(ctx, query),
  }),
  route({
    method: "GET",
    path: "/operation/{id}",
    versions: "v1+",
    id: "getOperation",
    summary: "Read an operation",
    description: "Answers 200 whatever became of the work. `Prefer: wait=N` (1 to 30 s) waits for its end.",
    permission: "any",
    replies: { 200: Operation },
    heeds: ["Prefer"],
    run: async (ctx, { params }) => {
      const { operation, applied } = await getOperation(ctx, params.id);
      const headers = { vary: "Prefer", ...(operation.finishedAt ? {} : { "retry-after": "1" }), ...applied };
      return new Reply(200, operation, { headers });
    },
  }),
  route({
    method: "POST",
    path: "/operation/{id}/cancel",
    versions: "v1+",
    id: "cancelOperation",
    summary: "Cancel an operation",
    description: "200: it had not begun and is cancelled. 202: it was asked to stop, and may still end otherwise.",
    permission: "any",
    replies: { 200: Operation, 202: Operation },
    problems: [operationNotCancellable],
    // The one kind whose cancelling changes a thing that others read.
    emits: [operationEvents.cancelled, tenantDeletionCancelled],
    run: async (ctx, { params }) => {
      const operation = await cancelOperation(ctx, params.id);
      return operation.status === "cancelled"
        ? new Reply(200, operation)
        : new Reply(202, operation, { location: `/operation/${operation.id}` });
    },
  }),
];
