/** `node server/test/faults/run.ts <name> [--count n ...]`: one fault run in its long form. Without a name: which there are. */
import { readdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureTemplate, startTestCluster } from "../database.ts";
import { countsOf, type FaultRun, runFaults } from "./fault-run.ts";
import { endAll } from "./process.ts";

const suffix = ".run.ts";
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(suffix))
  .map((file) => file.slice(0, -suffix.length));

const load = async (name: string): Promise<FaultRun> => (await import(`./${name}${suffix}`)).faultRun;

async function showAll(): Promise<void> {
  for (const name of names) {
    const { about, counts } = await load(name);
    console.log(`${name}: ${about}`);
    for (const [option, count] of Object.entries(counts))
      console.log(`  --${option} n  ${count.about} (${count.long}; in npm test ${count.short})`);
  }
}

async function main(): Promise<void> {
  const name = process.argv[2];
  if (!name || !names.includes(name)) return showAll();
  const faultRun = await load(name);
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: Object.fromEntries(Object.keys(faultRun.counts).map((option) => [option, { type: "string" as const }])),
  });
  const given = Object.entries(values).map(([option, value]) => [option, Number(value)] as const);
  for (const [option, value] of given)
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${option} must be a whole number above 0.`);
  const counts = { ...countsOf(faultRun, "long"), ...Object.fromEntries(given) };
  const cluster = process.env.DEMARC_TEST_CLUSTER ? null : await startTestCluster();
  process.env.DEMARC_TEST_CLUSTER ??= cluster!.url;
  try {
    await ensureTemplate(process.env.DEMARC_TEST_CLUSTER);
    const started = performance.now();
    const figures = await runFaults(faultRun, counts, (line) => console.log(`${new Date().toISOString()} ${line}`));
    console.log({ ...counts, ...figures, seconds: Math.round((performance.now() - started) / 1_000) });
  } finally {
    await endAll();
    await cluster?.stop();
  }
}

await main();
