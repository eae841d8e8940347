/** The log and the trail as CSV (access, section 8): RFC 4180, sent while it is read, at most 100,000 rows. */
import { Readable } from "node:stream";
import { Reply } from "#kernel/contract";

const mostRows = 100_000;
const batchSize = 1_000;

export type Column<R> = { name: string; of(row: R): unknown };
/** Reads the rows behind `last`, at most `size`; the first ones where there is no last. */
export type Batches<R> = (last: R | undefined, size: number) => Promise<R[]>;

/** The reply. Its first rows are read before, so that what can go wrong with the query is refused in the ordinary way. */
export async function csvReply<R>(
  fileName: string,
  columns: readonly Column<R>[],
  read: Batches<R>,
  guard: boolean,
): Promise<Reply> {
  const first = await read(undefined, batchSize);
  async function* lines() {
    yield lineOf(columns.map((column) => column.name));
    let rows = first;
    for (let sent = 0; rows.length > 0; ) {
      yield rows.map((row) => lineOf(columns.map((column) => cellOf(column.of(row), guard)))).join("");
      sent += rows.length;
      if (rows.length < batchSize || sent >= mostRows) return;
      rows = await read(rows.at(-1), Math.min(batchSize, mostRows - sent));
    }
  }
  return new Reply(200, Readable.from(lines()), {
    headers: {
      "content-type": "text/csv; charset=utf-8; header=present",
      "content-disposition": `attachment; filename="${fileName}"`,
    },
  });
}

/** Text of a cell; null is nothing between two commas. `guard`: a leading `'` where a spreadsheet would calculate. */
export function cellOf(value: unknown, guard: boolean): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return quoted(guard && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
}

function quoted(text: string): string {
  return text === "" || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const lineOf = (cells: readonly string[]) => `${cells.join(",")}\r\n`;
