/**
 * A fault run: load and faults together, and what must hold all the same. Each stands in a file `<name>.run.ts` as
 * `faultRun`; `npm test` runs all of them with their short counts, `node server/test/faults/run.ts <name>` with the long.
 */
import { checkWire } from "../wire.ts";

export type Counts = Record<string, number>;
export type Figures = Record<string, number | string>;
export type FaultRun = {
  about: string;
  counts: Record<string, { about: string; short: number; long: number }>;
  /** Throws when something did not hold; `tell` shows how far it is. */
  run(counts: Counts, tell: (line: string) => void): Promise<Figures>;
};

/** Runs it; whatever it saw of news must also match the documents. */
export async function runFaults(faultRun: FaultRun, counts: Counts, tell: (line: string) => void): Promise<Figures> {
  const figures = await faultRun.run(counts, tell);
  checkWire();
  return figures;
}

export function countsOf({ counts }: FaultRun, form: "short" | "long"): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count[form]]));
}

/** Runs `part` for 0 to `total` - 1, so many at once; after a failure begins no more, waits for the rest and throws it. */
export async function inTurns(total: number, atOnce: number, part: (index: number) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  async function worker(): Promise<void> {
    while (next < total && failures.length === 0) await part(next++).catch((error) => failures.push(error));
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, total) }, worker));
  if (failures.length > 0) throw failures[0];
}
