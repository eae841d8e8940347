import assert from "node:assert/strict";
import { test } from "node:test";
import { modules } from "../src/app.ts";
import type { Module } from "../src/kernel/contract.ts";
import { startJobs } from "../src/kernel/jobs.ts";
import { eventually, startServer } from "./harness.ts";

test("of two servers one runs a job that is due, whoever is first, and each job once", async () => {
  const runs = new Map<string, number>();
  const planted: Module = {
    name: "export",
    about: "A planted service.",
    jobs: [
      {
        name: "count_up",
        summary: "Counts.",
        cron: "0 0 1 1 *",
        async run(kernel) {
          runs.set(kernel.processes.id, (runs.get(kernel.processes.id) ?? 0) + 1);
        },
      },
    ],
  };
  const first = await startServer({ modules: [...modules, planted] });
  const second = await startServer({ modules: [...modules, planted], beside: first });
  const stops = await Promise.all([first, second].map(({ kernel, databaseUrl }) => startJobs(kernel, databaseUrl)));
  try {
    await first.sql("select graphile_worker.add_job('count_up') from generate_series(1, 200)");
    const total = () => [...runs.values()].reduce((sum, each) => sum + each, 0);
    await eventually(async () => (await first.sql("select from graphile_worker.jobs")).length === 0);
    assert.equal(total(), 200);
  } finally {
    for (const stop of stops) await stop();
  }
});
