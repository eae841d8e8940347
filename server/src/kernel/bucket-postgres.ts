/** Token buckets in PostgreSQL: an unlogged table, one statement a call, the database's clock. */
import { sql } from "kysely";
import type { NamedBucket } from "./bucket-store.ts";
import { type Database, hot, query } from "./db.ts";
import type { Bucket } from "./throttle-core.ts";

type Calls = { names: string[]; rates: number[]; bursts: number[]; charge: boolean; clockMs: number | null };
const takeCalls = hot<Calls, { levels: number[] }>("take_calls", ({ names, rates, bursts, charge, clockMs }) =>
  query(
    sql`select kernel.take_calls(${names}::text[], ${rates}::int[], ${bursts}::int[], ${charge}, ${clockMs}::bigint) as levels`,
  ),
);

export type PostgresBuckets = {
  take(buckets: readonly NamedBucket[], charge: boolean): Promise<readonly number[]>;
  /** Makes these the only buckets that are not full. For the one process that nobody is beside. */
  replace(buckets: readonly NamedBucket[]): Promise<void>;
  read(): Promise<ReadonlyMap<string, Pick<Bucket, "rate" | "level">>>;
};

/** `clockMs` gives whole milliseconds in place of the database's clock. */
export function createPostgresBuckets(system: Database, clockMs: () => number | null = () => null): PostgresBuckets {
  const db = system.in("");
  return {
    async take(buckets, charge) {
      const found = await db.first(
        takeCalls({
          names: buckets.map(({ name }) => name),
          rates: buckets.map(({ rate }) => rate.ratePerSecond),
          bursts: buckets.map(({ rate }) => rate.burst),
          charge,
          clockMs: clockMs(),
        }),
      );
      return found!.levels;
    },
    async replace(buckets) {
      await system.transaction("", async (tx) => {
        tx.fire(query(sql`delete from kernel.bucket`));
        tx.fire(
          query(sql`insert into kernel.bucket select n, l, kernel.bucket_clock_ms(), r, b from unnest(
            ${buckets.map(({ name }) => name)}::text[], ${buckets.map(({ here }) => Math.floor(here.level))}::int[],
            ${buckets.map(({ rate }) => rate.ratePerSecond)}::int[], ${buckets.map(({ rate }) => rate.burst)}::int[]) as u (n, l, r, b)`),
        );
      });
    },
    async read() {
      type Row = { name: string; level: number; rate: number; burst: number };
      const rows = await db.rows(
        query<Row>(
          sql`select name, rate, burst, least(burst * 1000::bigint, level + greatest(0, kernel.bucket_clock_ms() - at_ms) * rate)::int as level from kernel.bucket`,
        ),
      );
      return new Map(
        rows.map(({ name, level, rate, burst }) => [name, { level, rate: { ratePerSecond: rate, burst } }]),
      );
    },
  };
}
