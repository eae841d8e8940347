/** What the activity log and the audit trail have in common at the door. */
import { type TSchema, Type } from "typebox";
import { object } from "#kernel/schema";

export const Csv = Type.String({ "x-media-type": "text/csv", description: "RFC 4180, UTF-8, with a header line." });

export const Ndjson = Type.String({
  "x-media-type": "application/x-ndjson",
  description: "A JSON object a line, UTF-8.",
});

/** Newest first, unless the list is asked for otherwise. */
export const period = {
  from: Type.String({ format: "date-time", description: "The first instant." }),
  to: Type.String({ format: "date-time", description: "The first instant that is no longer meant." }),
};

/** The query schema of a CSV: the filters of its list. */
export function csvQuery<F extends Record<string, TSchema>>(filters: F) {
  const optional = Object.fromEntries(
    Object.entries(filters).map(([name, schema]) => [name, Type.Optional(schema)]),
  ) as { [K in keyof F]: ReturnType<typeof Type.Optional<F[K]>> };
  return object({
    ...optional,
    raw: Type.Optional(
      Type.Boolean({
        default: false,
        description: "`true` leaves out the `'` before cells that a spreadsheet would take for a formula.",
      }),
    ),
  });
}
