import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import type { FaultRun } from "./fault-run.ts";
import { startInstallation } from "./installation.ts";
import { checkWork, placeOf, startWork } from "./long-work.ts";

export const faultRun: FaultRun = {
  about:
    "OP-5. a server that is killed in the middle of work: every operation ends, its results and its end are there once",
  counts: {
    kills: { about: "SIGKILLs while operations run, each followed by a new start", short: 1, long: 20 },
    operations: { about: "operations started before each kill", short: 4, long: 5 },
  },
  async run({ kills = 1, operations = 1 }, tell) {
    const installation = await startInstallation(1);
    const { servers, call } = installation;
    try {
      const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name: "Alpha", kind: "customer" } });
      const place = await placeOf(installation, made.body.id);
      const work = new Map<string, string>();
      let midway = 0;
      for (let kill = 0; kill < kills; kill++) {
        await Promise.all(
          Array.from({ length: operations }, async (_, n) => {
            work.set(`w${kill}x${n}`, await startWork(installation, place, `w${kill}x${n}`));
          }),
        );
        await new Promise((resolve) => setTimeout(resolve, randomInt(1, 60)));
        await installation.restart(0);
        const [left] = await installation.sql(
          "select count(*)::int as n from kernel.operation where id = any($1) and tries > 0 and finished_at is null",
          [[...work.values()]],
        );
        midway += left.n;
        tell(`${kill + 1} kills, ${left.n} operations were under way`);
      }
      const givenUp = await checkWork(installation, work);
      assert.ok(givenUp <= midway);
      return { started: work.size, midway, givenUp };
    } finally {
      await installation.end();
    }
  },
};
