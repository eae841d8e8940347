/** (d) One atomic bulk call of 1,000 creates. That its statements do not grow with the items is a test (watch/bulk.test.ts). */
import { performance } from "node:perf_hooks";
import { call, type Demarc } from "./demarc.ts";
import { median, rounded } from "./figures.ts";
import { newWatch, type Seeded } from "./seed.ts";

export type BulkScore = { items: number; medianMs: number; slowestMs: number };

export async function measureBulk(demarc: Demarc, seeded: Seeded, samples: number): Promise<BulkScore> {
  const items = 1_000;
  const times: number[] = [];
  for (let sample = 0; sample < samples; sample++) {
    const body = Array.from({ length: items }, (_, index) => ({
      op: "create",
      watch: newWatch(`bulk-${sample}-${index}`, seeded.locationIds[index % seeded.locationIds.length]!),
    }));
    const startedAt = performance.now();
    await call(demarc, seeded.key, "POST", "/watch/bulk", { mode: "atomic", items: body });
    times.push(performance.now() - startedAt);
  }
  return { items, medianMs: rounded(median(times), 0), slowestMs: rounded(Math.max(...times), 0) };
}
