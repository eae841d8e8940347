/** Lists (conventions, section 3): filters, sort, an opaque cursor that stays right while rows are added, totals. */
import { type Expression, type SelectQueryBuilder, sql } from "kysely";
import { type TSchema, Type } from "typebox";
import type { Context } from "./contract.ts";
import { type Fault, invalid } from "./problem.ts";
import { anyOf, nullable, object, oneOf } from "./schema.ts";

/** The query schema of a list: its filters and the parameters that every list has. */
export function listQuery<F extends Record<string, TSchema>, const S extends readonly string[]>(
  filters: F,
  sorts: S,
  item: TSchema,
) {
  const fields = Object.keys((item as { properties?: object }).properties ?? {});
  const words = sorts.flatMap((name) => [name, `-${name}`]);
  const optional = Object.fromEntries(
    Object.entries(filters).map(([name, schema]) => [name, Type.Optional(schema)]),
  ) as { [K in keyof F]: ReturnType<typeof Type.Optional<F[K]>> };
  return object({
    ...optional,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: "Items a page." })),
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1_000, description: "`nextCursor` of the page before." }),
    ),
    sort: Type.Optional(anyOf(oneOf(words, { description: "A leading `-` turns the order round." }))),
    count: Type.Optional(Type.Boolean({ description: "`true` adds `total`." })),
    fields: Type.Optional(anyOf(oneOf(fields, { description: "Members to keep of each item." }))),
  });
}

/** The reply schema of a list. */
export function listOf<S extends TSchema>(item: S) {
  return object({
    items: Type.Array(item),
    nextCursor: nullable(Type.String({ description: "Names the next page; null on the last." })),
    nextLink: nullable(Type.String({ description: "Address of the next page; null on the last." })),
    total: Type.Optional(Type.Integer({ description: "With `count=true`: number of all items." })),
  });
}

type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Page<T> = { items: T[]; nextCursor: string | null; nextLink: string | null; total?: number };
// biome-ignore lint/suspicious/noExplicitAny: any module's tables
type Rows<O = any> = SelectQueryBuilder<any, any, O>;
type PagePlan<O, T> = {
  /** Visible and filtered rows with their columns selected. */
  from: Rows<O>;
  /** What each sort name means in SQL; never null (coalesce it), so that the cursor has a place for every row. */
  sorts: Record<string, Expression<unknown>>;
  /** The default order, such as `createdAt`. */
  by: string;
  id: Expression<unknown>;
  item(row: O): T | Promise<T>;
};

/** Reads one page. Constant number of statements: the rows, and the total where it was asked for. */
export async function readPage<O, T>(ctx: Context, input: ListInput, plan: PagePlan<O, T>): Promise<Page<T>> {
  const limit = input.limit ?? 50;
  const order = (input.sort ?? [plan.by]).map((word) => ({
    name: word.replace(/^-/, ""),
    descending: word.startsWith("-"),
  }));
  const keys = [
    ...order.map(({ name, descending }) => ({ column: plan.sorts[name]!, descending })),
    { column: plan.id, descending: order[0]!.descending },
  ];
  const signature = order.map(({ name, descending }) => (descending ? "-" : "") + name).join(",");
  let rows = plan.from;
  if (input.cursor) rows = rows.where(after(keys, readCursor(input.cursor, signature, keys.length)));
  for (const { column, descending } of keys) rows = rows.orderBy(column as never, descending ? "desc" : "asc");
  const marked = rows
    .select(sql`jsonb_build_array(${sql.join(keys.map(({ column }) => column))})`.as("page_place"))
    .limit(limit + 1);
  const counting = input.count
    ? ctx.db.first<{ total: number }>(plan.from.clearSelect().select(sql<number>`count(*)::int`.as("total")))
    : undefined;
  const [found, counted] = await Promise.all([
    ctx.db.rows(marked).catch((error: Error & { code?: string }) => {
      // The values of a cursor that somebody else wrote need not be of their columns' types.
      throw input.cursor && error.code?.startsWith("22") ? invalid([cursorFault]) : error;
    }) as Promise<(O & { page_place: unknown[] })[]>,
    counting,
  ]);
  const items = await Promise.all(found.slice(0, limit).map((row) => plan.item(row)));
  const last = found.length > limit ? found[limit - 1] : undefined;
  const nextCursor = last ? writeCursor(signature, last.page_place) : null;
  const total = counted?.total;
  return {
    items,
    nextCursor,
    nextLink: nextCursor && nextLink(ctx, nextCursor),
    ...(total === undefined ? {} : { total }),
  };
}

/**
 * Rows behind a place: (a, b, id) > (x, y, z) with each column's own direction. The values stand without a type, so that
 * each is read as its column's: a name may look like an instant.
 */
function after(keys: { column: Expression<unknown>; descending: boolean }[], place: unknown[]) {
  const ways = keys.map(({ column, descending }, index) => {
    const equal = keys.slice(0, index).map((key, before) => sql`${key.column} = ${place[before]}`);
    const beyond = descending ? sql`${column} < ${place[index]}` : sql`${column} > ${place[index]}`;
    return sql`(${sql.join([...equal, beyond], sql` and `)})`;
  });
  return sql<boolean>`(${sql.join(ways, sql` or `)})`;
}

function writeCursor(signature: string, place: unknown[]): string {
  return Buffer.from(JSON.stringify([signature, ...place])).toString("base64url");
}

const cursorFault: Fault = {
  parameter: "cursor",
  rule: "format",
  message: "The cursor is not one of this list in this order.",
};

function readCursor(cursor: string, signature: string, length: number): unknown[] {
  try {
    const [made, ...place]: unknown[] = JSON.parse(Buffer.from(cursor, "base64url").toString());
    if (made === signature && place.length === length && place.every((value) => typeof value !== "object"))
      return place;
  } catch {
    // not a cursor of ours: refused below
  }
  throw invalid([cursorFault]);
}

/** The caller's own query with the cursor of the next page; the front door puts the label before it. */
export function nextLink(ctx: Context, cursor: string): string {
  const search = new URLSearchParams(ctx.call.search);
  search.set("cursor", cursor);
  return `${ctx.call.path}?${search}`;
}
