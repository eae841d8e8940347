/** (c) Lists of 50 among all the watches, one client. */
import { performance } from "node:perf_hooks";
import { call, type Demarc } from "./demarc.ts";
import { quantile, rounded } from "./figures.ts";
import type { Seeded } from "./seed.ts";

export type ListScore = { filter: string; found: number; p50Ms: number; p95Ms: number };

export async function measureLists(demarc: Demarc, seeded: Seeded, samples: number): Promise<ListScore[]> {
  const filters = [
    "status=pending",
    "testState=failed",
    "reference=PO-4711",
    "deviceAddress=10.0.18.103",
    `folderId=${seeded.folderId}`,
    "group=rollout",
    "productType=FTTC&sort=name",
  ];
  const scores: ListScore[] = [];
  for (const filter of filters) {
    const times: number[] = [];
    let found = 0;
    for (let sample = 0; sample < samples + 5; sample++) {
      const startedAt = performance.now();
      const page = await call(demarc, seeded.key, "GET", `/watch?limit=50&${filter}`);
      if (sample >= 5) times.push(performance.now() - startedAt);
      found = page.items.length;
    }
    const sorted = Float64Array.from(times).sort();
    scores.push({ filter, found, p50Ms: rounded(quantile(sorted, 0.5)), p95Ms: rounded(quantile(sorted, 0.95)) });
  }
  return scores;
}
