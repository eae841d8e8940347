/** (a) reading one watch and (b) making one, beside the bare server that does the same to the database. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Bare } from "./bare.ts";
import type { Demarc } from "./demarc.ts";
import { type Contender, compare, type Score } from "./figures.ts";
import { type Loaded, requestText, runLoad } from "./load.ts";
import { newWatch, type Seeded } from "./seed.ts";

/** Enough to keep one thread busy at all times. */
const clients = 32;

type Field = { demarc: Demarc; bare: Bare; seeded: Seeded; rounds: number; seconds: number };

export function measureGet({ demarc, bare, seeded, rounds, seconds }: Field): Promise<Score[]> {
  const read = (port: number, label: string, headers: Record<string, string>) => {
    const requests = seeded.watchIds.map((id) => requestText("GET", `${label}/watch/${id}`, headers));
    let place = 0;
    // A stride, so that neighbours in time are no neighbours in the table.
    const next = () => {
      place = (place + 7_919) % requests.length;
      return requests[place]!;
    };
    return (duration: number) => runLoad({ port, clients, seconds: duration, next, expected: 200 });
  };
  const loadDemarc = read(demarc.port, "/v1", { "x-api-key": seeded.key });
  const pids = { server: demarc.pid, database: demarc.databasePid };
  return compare(
    [
      { name: "bare Fastify", pids: { ...pids, server: bare.pid }, load: read(bare.port, "", {}) },
      { name: "Demarc", pids, load: loadDemarc },
      {
        name: "Demarc, row policies off",
        pids,
        before: () => setPolicies(demarc.databaseUrl, "disable"),
        load: loadDemarc,
        after: () => setPolicies(demarc.databaseUrl, "enable"),
      },
    ],
    rounds,
    seconds,
  );
}

async function setPolicies(databaseUrl: string, state: "enable" | "disable"): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  for (const table of ["monitoring.watch", "monitoring.location", "monitoring.folder", "access.tenant_ancestor"])
    await client.query(`alter table ${table} ${state} row level security`);
  await client.end();
}

export function measureCreate({ demarc, bare, seeded, rounds, seconds }: Field): Promise<Score[]> {
  let count = 0;
  const create = (port: number, path: string, headers: () => Record<string, string>) => {
    const next = () => {
      count++;
      const locationId = seeded.locationIds[count % seeded.locationIds.length]!;
      return requestText("POST", path, headers(), JSON.stringify(newWatch(`made-${count}`, locationId)));
    };
    return (duration: number): Promise<Loaded> => runLoad({ port, clients, seconds: duration, next, expected: 201 });
  };
  const pids = { server: demarc.pid, database: demarc.databasePid };
  const contenders: Contender[] = [
    { name: "bare Fastify", pids: { ...pids, server: bare.pid }, load: create(bare.port, "/watch", () => ({})) },
    {
      name: "Demarc",
      pids,
      load: create(demarc.port, "/v1/watch", () => ({ "x-api-key": seeded.key, "idempotency-key": randomUUID() })),
    },
  ];
  return compare(contenders, rounds, seconds);
}
