/**
 * `npm run bench`: Demarc beside a bare Fastify, in turns, on the embedded database with fsync on. `--json FILE` writes
 * the figures, `--quick` takes short rounds to see that all works, `--profile DIR` keeps a CPU profile of the server.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startBare } from "./bare.ts";
import { measureBulk } from "./bulk.ts";
import { call, startDemarc } from "./demarc.ts";
import { measureCreate, measureGet } from "./hot-calls.ts";
import { measureLists } from "./lists.ts";
import { describeMachine } from "./machine.ts";
import { judge, print } from "./report.ts";
import { newWatch, seed } from "./seed.ts";
import { durabilityOf, measureStarts } from "./starts.ts";

const { values: options } = parseArgs({
  options: { json: { type: "string" }, quick: { type: "boolean" }, profile: { type: "string" } },
});
const pace = options.quick
  ? { rounds: 2, seconds: 1, samples: 20, watches: 20_000, starts: 1 }
  : { rounds: 5, seconds: 4, samples: 100, watches: 100_000, starts: 3 };
export type Pace = typeof pace;
