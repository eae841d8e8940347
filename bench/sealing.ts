/**
 * (f) What the audit chain costs writes. Off: this process holds the lock under which one server seals, so that nobody
 * does. What was left then is sealed before the next turn begins, outside any measured time.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Demarc } from "./demarc.ts";
import { compare, type Score } from "./figures.ts";
import { type Loaded, requestText, runLoad } from "./load.ts";
import { newWatch, type Seeded } from "./seed.ts";

const clients = 32;
const lock = "7301946030";

type Field = { demarc: Demarc; seeded: Seeded; rounds: number; seconds: number };

export async function measureSealing({ demarc, seeded, rounds, seconds }: Field): Promise<Score[]> {
  const owner = new pg.Client({ connectionString: demarc.databaseUrl });
  await owner.connect();
  let count = 0;
  function next(): string {
    count++;
    const locationId = seeded.locationIds[count % seeded.locationIds.length]!;
    const headers = { "x-api-key": seeded.key, "idempotency-key": randomUUID() };
    return requestText("POST", "/v1/watch", headers, JSON.stringify(newWatch(`sealed-${count}`, locationId)));
  }
  const load = (duration: number): Promise<Loaded> =>
    runLoad({ port: demarc.port, clients, seconds: duration, next, expected: 201 });
  const pids = { server: demarc.pid, database: demarc.databasePid };
  const scores = await compare(
    [
      {
        name: "sealer off",
        pids,
        before: async () => void (await owner.query(`select pg_advisory_lock(${lock})`)),
        load,
        async after() {
          await owner.query(`select pg_advisory_unlock(${lock})`);
          await untilSealed(owner, seeded.customerId);
        },
      },
      { name: "sealer on", pids, load, after: () => untilSealed(owner, seeded.customerId) },
    ],
    rounds,
    seconds,
  );
  await owner.end();
  return scores;
}

async function untilSealed(owner: pg.Client, tenantId: string): Promise<void> {
  const since = (await owner.query("select max(position) as last from access.audit where tenant_id = $1", [tenantId]))
    .rows[0].last;
  for (;;) {
    const { rowCount } = await owner.query("select from access.audit_seal where tenant_id = $1 and position = $2", [
      tenantId,
      since,
    ]);
    if (rowCount === 1) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
