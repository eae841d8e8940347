import { type Static, type TSchema, Type } from "typebox";
import { bulkBody, bulkReply } from "#kernel/bulk-schema";
import { nullable, object, oneOf } from "#kernel/schema";
import { NewWatch, WatchChange, WatchUpsert } from "./schema.ts";

const target = {
  id: Type.String({ "x-id": "wch" }),
  ifMatch: Type.Optional(
    Type.String({ description: "The watch's `ETag`; 412 in the item's result when it is stale." }),
  ),
};
const forms = {
  create: object({ op: oneOf(["create"]), watch: NewWatch }),
  update: object({ op: oneOf(["update"]), ...target, watch: WatchChange }),
  upsert: object({
    op: oneOf(["upsert"]),
    matchBy: Type.Optional(
      oneOf(["name", "reference"], {
        default: "name",
        description: "`name` within its location, `reference` within the caller's scope.",
      }),
    ),
    watch: WatchUpsert,
  }),
  delete: object({ op: oneOf(["delete"]), ...target }),
};
export type BulkItem = { [K in keyof typeof forms]: Static<(typeof forms)[K]> }[keyof typeof forms];

/** The form goes by `op`, so that a faulty item is told what is wrong with that form, and not with all four. */
export const BulkItem = Type.Unsafe<BulkItem>({
  title: "WatchBulkItem",
  type: "object",
  required: ["op"],
  properties: { op: oneOf(Object.keys(forms)) },
  allOf: Object.entries(forms).map(([op, form]) => ({
    if: { type: "object", properties: { op: { const: op } }, required: ["op"] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: form,
  })),
} as TSchema);

export const BulkWatches = bulkBody(BulkItem, {});
export const BulkWatchesReply = bulkReply({
  id: nullable(Type.String({ description: "Null where the item failed, and of a would-be watch in a dry run." })),
  etag: nullable(Type.String()),
});
