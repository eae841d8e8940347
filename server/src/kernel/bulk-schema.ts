/** The shapes of bulk calls (conventions, section 3); what they do is in bulk.ts. */
import { type Static, type TSchema, Type } from "typebox";
import { nullable, object, oneOf } from "./schema.ts";

export const bulkModes = ["atomic", "each"] as const;
export type BulkMode = (typeof bulkModes)[number];
export const bulkOutcomes = ["created", "updated", "unchanged", "deleted", "absent", "failed"] as const;
export type BulkOutcome = (typeof bulkOutcomes)[number];

/**
 * The body of a bulk call. The items are documented by `item` (`x-schema`) but checked by `runBulk`, because in mode
 * `each` a malformed item fails alone. `more` are further members of the body.
 */
export function bulkBody<I extends TSchema, M extends Record<string, TSchema>>(item: I, more: M, most = 1_000) {
  return object({
    mode: Type.Optional(
      oneOf(bulkModes, { default: "atomic", description: "All or nothing, or each item by itself." }),
    ),
    dryRun: Type.Optional(Type.Boolean({ default: false, description: "Answers the same and stores nothing." })),
    items: Type.Array(Type.Unsafe<Static<I>>({ "x-schema": item }), { minItems: 1, maxItems: most }),
    ...more,
  });
}

const count = Type.Integer({ minimum: 0 });

/** The reply of a bulk call; `members` are those of one result beside the common ones, such as `id` and `etag`. */
export function bulkReply<M extends Record<string, TSchema>>(members: M) {
  return object({
    mode: oneOf(bulkModes),
    dryRun: Type.Boolean(),
    summary: object({ created: count, updated: count, unchanged: count, deleted: count, failed: count }),
    results: Type.Array(
      object({
        index: Type.Integer({ minimum: 0, description: "Place of the item in the request, from 0." }),
        status: Type.Integer({ description: "What the single call would have answered." }),
        outcome: oneOf(bulkOutcomes),
        ...members,
        warnings: Type.Array(object({ code: Type.String(), pointer: nullable(Type.String()) })),
        problem: nullable(
          Type.Object({}, { additionalProperties: true, description: "RFC 9457; null where the item succeeded." }),
        ),
      }),
    ),
  });
}
