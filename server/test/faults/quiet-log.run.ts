import assert from "node:assert/strict";
import type { FaultRun } from "./fault-run.ts";
import { startInstallation } from "./installation.ts";

export const faultRun: FaultRun = {
  about: "EV-5. a quiet log keeps its reader for as long as it said, and news through another server let it go at once",
  counts: {
    wait: { about: "seconds of waiting on a quiet log", short: 1, long: 20 },
    pause: { about: "seconds that a reader waits before the change", short: 1, long: 3 },
  },
  async run({ wait = 1, pause = 1 }) {
    const installation = await startInstallation(2);
    const { servers, call } = installation;
    try {
      const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name: "Quiet", kind: "customer" } });
      const tenant = { "demarc-tenant": made.body.id as string };
      const page = (query: string, seconds: number) =>
        call(servers[0]!, "GET", `/v1/event-log?${query}`, { headers: { ...tenant, prefer: `wait=${seconds}` } });
      // What the making of the tenant told may come first.
      const first = await call(servers[0]!, "GET", "/v1/event-log?sort=-sequence&limit=1", { headers: tenant });
      const from = first.body.items.length > 0 ? `from=${first.body.items[0].id}` : "from=now";
      let beganAt = performance.now();
      const quiet = await page(from, wait);
      const waitedMs = performance.now() - beganAt;
      assert.ok(waitedMs >= wait * 1_000 - 20, `answered after ${waitedMs} ms`);
      assert.deepEqual([quiet.body.items, quiet.body.atEnd], [[], true]);
      assert.equal(quiet.headers["preference-applied"], `wait=${wait}`);

      beganAt = performance.now();
      const asked = page(`cursor=${quiet.body.nextCursor}`, 30);
      await new Promise((resolve) => setTimeout(resolve, pause * 1_000));
      const person = { username: "v", fullname: "V", email: "v@x.example", defaultOrgUnitExternalId: "ROOT" };
      await call(servers[1]!, "POST", "/v1/user", { body: person, headers: tenant });
      const { body } = await asked;
      const answeredMs = Math.round(performance.now() - beganAt);
      assert.ok(body.items.length > 0);
      // To the half second in the long form alone, which has the machine to itself.
      if (pause >= 3) assert.ok(answeredMs < pause * 1_000 + 500, `answered after ${answeredMs} ms`);
      return { waitedMs: Math.round(waitedMs), answeredMs };
    } finally {
      await installation.end();
    }
  },
};
