/**
 * `npm run bench`: Demarc beside a bare Fastify, in turns, on the embedded database with fsync on. `--json FILE` writes
 * the figures, `--quick` takes short rounds to see that all works.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startBare } from "./bare.ts";
import { measureBulk } from "./bulk.ts";
import { call, startDemarc } from "./demarc.ts";
import { measureFanOut } from "./fan-out/fan-out.ts";
import type { Score } from "./figures.ts";
import { measureGrants } from "./grants.ts";
import { measureCreate, measureGet } from "./hot-calls.ts";
import { measureLists } from "./lists.ts";
import { describeMachine } from "./machine.ts";
import { measureSealing } from "./sealing.ts";
import { newWatch, seed } from "./seed.ts";
import { durabilityOf, measureStarts } from "./starts.ts";
import { measureWebhooks } from "./webhooks.ts";

const { values: options } = parseArgs({ options: { json: { type: "string" }, quick: { type: "boolean" } } });
const pace = options.quick
  ? { rounds: 2, seconds: 1, samples: 20, watches: 20_000, bulks: 2, starts: 1, subscribers: [100, 1_000] }
  : { rounds: 5, seconds: 4, samples: 100, watches: 100_000, bulks: 5, starts: 3, subscribers: [100, 1_000, 5_000] };

function show(title: string, scores: readonly Score[]): void {
  console.log(`\n${title}`);
  console.table(
    scores.map(({ name, perSecond, p50Ms, p99Ms, cpuUs, ofFirst }) => ({
      name,
      perSecond,
      p50Ms,
      p99Ms,
      ofFirst,
      ...cpuUs,
    })),
  );
}

const dataDir = mkdtempSync(join(tmpdir(), "demarc-bench-"));
const demarc = await startDemarc(dataDir, "off");
try {
  const seeded = await seed(demarc, pace.watches);
  const model = await call(demarc, seeded.key, "POST", "/watch", newWatch("model-2", seeded.locationIds[0]!), {
    "idempotency-key": "model",
  });
  const bare = await startBare(demarc.databaseUrl, seeded.customerId, model.id);
  const field = { demarc, bare, seeded, rounds: pace.rounds, seconds: pace.seconds };
  const get = await measureGet(field);
  show(`(a) GET /v1/watch/{id}, ${pace.watches} watches; ofFirst: share of the bare rate, CPU in us a request`, get);
  const create = await measureCreate(field);
  show("(b) POST /v1/watch with audit, outbox and idempotency", create);
  await bare.stop();
  const lists = await measureLists(demarc, seeded, pace.samples);
  console.log(`\n(c) lists of 50 among ${pace.watches} watches, one client`);
  console.table(lists);
  const bulk = await measureBulk(demarc, seeded, pace.bulks);
  console.log("\n(d) atomic bulk");
  console.table([bulk]);
  const sealing = await measureSealing({ demarc, seeded, rounds: pace.rounds, seconds: pace.seconds });
  show("(f) POST /v1/watch with and without the sealing of the audit chain", sealing);
  const grants = await measureGrants(demarc, pace.rounds, pace.seconds);
  show("(g) client-credential grants", grants);
  const webhooks = await measureWebhooks(demarc, seeded, [50, 200, 500], pace.seconds * 2);
  console.log("\n(h) webhooks: events a second to one receiver, from the answer to the change until receipt");
  console.table(webhooks);
  const durability = await durabilityOf(demarc.databaseUrl);
  await demarc.stop();
  const fanOut = await measureFanOut(pace.subscribers, Math.min(3, pace.rounds));
  console.log(
    "\n(i) fan-out over STOMP: one event at a time and 20 at a time; ofBare: share of bare ws with the same frames",
  );
  console.table(fanOut);
  const starts = await measureStarts(pace.starts);
  console.log("\n(e) starts and idle memory");
  console.table([starts]);
  console.log("\ndurability", durability, "\nmachine", describeMachine());
  if (options.json) {
    const figures = {
      machine: describeMachine(),
      durability,
      pace,
      get,
      create,
      lists,
      bulk,
      sealing,
      grants,
      webhooks,
      fanOut,
      starts,
    };
    writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
  }
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(0);
