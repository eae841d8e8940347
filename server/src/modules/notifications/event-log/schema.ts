import { type TSchema, Type } from "typebox";
import { anyOf, object, oneOf, text } from "#kernel/schema";

const cursor = text(64, { description: "A cursor of this log: where to go on." });

/** What every channel of events can be asked for. */
const filters = {
  cursor: Type.Optional(cursor),
  from: Type.Optional(
    text(64, {
      description: "Where to begin without a cursor: `start`, `now`, an instant, or the id of an event.",
      examples: ["start"],
    }),
  ),
  types: Type.Optional(
    anyOf(text(100, { description: "A whole type, a prefix that ends in `.*`, or `*`; a comma means any of." })),
  ),
  subject: Type.Optional(text(100, { description: "Id of the resource that changed." })),
  includeBelow: Type.Optional(
    Type.Boolean({ description: "`true`: also the events of the tenants below the acting one." }),
  ),
  until: Type.Optional(Type.String({ format: "date-time", description: "Only what was logged before this instant." })),
};

export const EventLogQuery = object({
  ...filters,
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: "Items a page." })),
  sort: Type.Optional(
    oneOf(["sequence", "-sequence"], { description: "`-sequence`: the newest first. The default is `sequence`." }),
  ),
});

export const EventStreamQuery = object(filters);

/** A page of the feed. It never ends: `nextCursor` is always there, and `atEnd` says whether to wait. */
export function pageOf<S extends TSchema>(event: S) {
  return object(
    {
      items: Type.Array(event),
      nextCursor: Type.String({ description: "Where to go on; never null." }),
      nextLink: Type.String({ description: "Address of the next page." }),
      atEnd: Type.Boolean({ description: "Nothing you may see lies beyond, for now." }),
      headCursor: Type.String({ description: "The end of the log at the time of reading." }),
    },
    { title: "EventPage" },
  );
}
