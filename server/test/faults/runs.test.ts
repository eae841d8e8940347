import { readdirSync } from "node:fs";
import { after, test } from "node:test";
import { countsOf, type FaultRun, runFaults } from "./fault-run.ts";
import { endAll } from "./process.ts";

after(endAll);

for (const file of readdirSync(import.meta.dirname).filter((name) => name.endsWith(".run.ts"))) {
  const { faultRun } = (await import(`./${file}`)) as { faultRun: FaultRun };
  test(`short fault run: ${faultRun.about}`, async () => {
    await runFaults(faultRun, countsOf(faultRun, "short"), () => {});
  });
}
