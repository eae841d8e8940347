import { type Static, Type } from "typebox";
import { listQuery } from "#kernel/page";
import { anyOf, id, nullable, object, oneOf, text } from "#kernel/schema";
import { NewWatch, statuses, WatchUpsert } from "../watch/schema.ts";

export const matchKeys = ["id", "numericId", "reference", "deviceAddress", "name"] as const;
const outcomes = ["missing", "same", "different", "ambiguous", "invalid"] as const;
const reasons = ["id_not_found", "same_watch"] as const;
const applications = ["created", "updated", "skipped", "refused"] as const;
/** More items are an operation. */
export const mostAtOnce = 1_000;
const mostItems = 20_000;

/** A watch as the caller's list has it: any writable fields, and the ids that the caller may know. */
export const EstateWatch = object(
  {
    ...WatchUpsert.properties,
    interface: NewWatch.properties.interface,
    id: Type.Optional(id("wch")),
    numericId: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
  },
  { title: "EstateWatch", "x-read-only": (WatchUpsert as { "x-read-only"?: string[] })["x-read-only"] },
);
export type EstateWatch = Static<typeof EstateWatch>;

const flag = (description: string) => Type.Optional(Type.Boolean({ default: false, description }));

/** The watches are documented here and checked one by one: a malformed one is an outcome, the rest goes on. */
export const Estate = object(
  {
    scope: Type.Optional(
      object({
        folderId: Type.Optional(id("fld", { description: "With everything below; the caller's scope if left out." })),
      }),
    ),
    matchBy: Type.Optional(
      Type.Array(oneOf(matchKeys), {
        minItems: 1,
        uniqueItems: true,
        default: matchKeys,
        description: "Keys in the order in which they are tried; those that an item does not state are skipped.",
      }),
    ),
    statuses: Type.Optional(Type.Array(oneOf(statuses), { minItems: 1, uniqueItems: true, default: statuses })),
    apply: Type.Optional(
      object(
        {
          create: flag("Creates what is missing."),
          update: flag("Merges the stated fields that differ."),
          createPlaces: flag("Makes the folders and locations of a `place`; needs `folder.write`."),
          secrets: flag("Also writes the secrets of watches that were found."),
        },
        { description: "What to do about the differences; without it nothing is changed. Needs `watch.write`." },
      ),
    ),
    items: Type.Array(
      object({
        key: text(100, { description: "The caller's handle, unique in the request.", examples: ["CMDB-7731"] }),
        watch: Type.Unsafe<unknown>({ "x-schema": EstateWatch }),
      }),
      { maxItems: mostItems, description: `Over ${mostAtOnce} are an operation.` },
    ),
  },
  { title: "Estate" },
);
export type Estate = Static<typeof Estate>;

const anything = Type.Unsafe<unknown>({});
const problem = Type.Object(
  {},
  { additionalProperties: true, description: "RFC 9457; null where nothing was refused." },
);

export const ReconcileItem = object(
  {
    key: Type.String(),
    outcome: oneOf(outcomes),
    reason: nullable(oneOf(reasons)),
    watchId: nullable(Type.String({ description: "The watch that the item hit, or that was created for it." })),
    candidateIds: Type.Array(Type.String(), { description: "Up to 10 of the watches that an ambiguous item hit." }),
    fields: Type.Array(object({ field: Type.String(), here: anything, theirs: anything }), {
      description: "Stated fields that differ; never secrets.",
    }),
    errors: Type.Array(
      object({
        pointer: Type.String({ description: "Into the request." }),
        rule: Type.String(),
        message: Type.String(),
        hint: Type.Optional(Type.String()),
      }),
    ),
    applied: nullable(oneOf(applications, { description: "Null without `apply`." })),
    problem: nullable(problem),
  },
  { title: "ReconcileItem" },
);
export type ReconcileItem = Static<typeof ReconcileItem>;

const onlyHere = {
  id: id("wch"),
  name: Type.String(),
  deviceAddress: nullable(Type.String()),
  locationId: id("loc"),
};
const OnlyHere = object(onlyHere, { title: "OnlyHere" });
const OnlyHereItem = object({ outcome: oneOf(["onlyHere"]), ...onlyHere }, { title: "OnlyHereItem" });
export type OnlyHereItem = Static<typeof OnlyHereItem>;

const count = Type.Integer({ minimum: 0 });
const words = [...outcomes, "onlyHere", ...applications] as const;
const ReconcileSummary = object(
  Object.fromEntries(words.map((word) => [word, count])) as Record<(typeof words)[number], typeof count>,
  { title: "ReconcileSummary" },
);
export type ReconcileSummary = Static<typeof ReconcileSummary>;

export const ReconcileReport = object(
  {
    id: id("rcn"),
    summary: ReconcileSummary,
    items: Type.Array(ReconcileItem, {
      description: `The first ${mostAtOnce.toLocaleString("en")}, in the order of the request.`,
    }),
    onlyHere: Type.Array(OnlyHere, { description: "The first 200 watches in scope that no item hit." }),
    onlyHereNextLink: nullable(Type.String({ description: "Address of the others; null when these are all." })),
  },
  { title: "ReconcileReport" },
);
export type ReconcileReport = Static<typeof ReconcileReport>;

/** What the operation answers. */
export const ReconcileResult = object({ reportId: id("rcn"), summary: ReconcileSummary }, { title: "ReconcileResult" });
export type ReconcileResult = Static<typeof ReconcileResult>;

export const ReconcileItemQuery = listQuery(
  { outcome: anyOf(oneOf([...outcomes, "onlyHere"])), applied: anyOf(oneOf(applications)) },
  ["position"],
  ReconcileItem,
);
export type ReconcileItemQuery = Static<typeof ReconcileItemQuery>;
export const ReportedItem = Type.Union([ReconcileItem, OnlyHereItem]);
export type ReportedItem = Static<typeof ReportedItem>;
