import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { type FaultRun, inTurns } from "./fault-run.ts";
import { type Installation, startInstallation } from "./installation.ts";

/** A twin that is told to come back does so soon, but not all of them in one moment. */
const pause = () => new Promise((resolve) => setTimeout(resolve, randomInt(2, 20)));

type Seen = { calls: number; cutOff: number; inProgress: number; replayed: number };

/** One of the twins: asks any of the servers until it has the reply. */
async function twin(installation: Installation, name: string, seen: Seen): Promise<string> {
  for (;;) {
    const { servers } = installation;
    const server = servers[randomInt(servers.length)]!;
    seen.calls++;
    const answer = await installation
      .call(server, "POST", "/v1/folder", { body: { name }, headers: { "idempotency-key": name } })
      .catch(() => null);
    if (answer?.status === 201) {
      if (answer.headers["idempotency-replayed"]) seen.replayed++;
      return answer.text;
    }
    if (answer) {
      assert.equal(answer.body.code, "idempotency_in_progress", `${answer.status} ${answer.text}`);
      seen.inProgress++;
    } else {
      seen.cutOff++;
      assert.ok(server.child.killed, "a connection ended without a kill");
    }
    await pause();
  }
}

export const faultRun: FaultRun = {
  about: "calls with an Idempotency-Key, each made by many at once at two servers that are killed in between",
  counts: {
    keys: { about: "Idempotency-Keys", short: 40, long: 10_000 },
    twins: { about: "at most so many parallel calls per key, at least 2", short: 12, long: 50 },
    kills: { about: "SIGKILLs, each followed by a new start", short: 2, long: 40 },
    atOnce: { about: "keys under way at a time", short: 6, long: 6 },
  },
  async run({ keys = 1, twins = 2, kills = 1, atOnce = 1 }, tell) {
    const installation = await startInstallation(2);
    const seen: Seen = { calls: 0, cutOff: 0, inProgress: 0, replayed: 0 };
    let [done, killed] = [0, 0];
    let restarting: Promise<void> = Promise.resolve();

    function killOne(): void {
      killed++;
      restarting = restarting.then(() => installation.restart(randomInt(2)));
    }
    try {
      await inTurns(keys, atOnce, async (index) => {
        const name = `once-${index}`;
        const count = randomInt(2, Math.max(3, twins + 1));
        const replies = await Promise.allSettled(Array.from({ length: count }, () => twin(installation, name, seen)));
        const texts = replies.map((reply) => {
          if (reply.status === "rejected") throw reply.reason;
          return reply.value;
        });
        assert.equal(new Set(texts).size, 1, `the twins of ${name} were answered differently`);
        done++;
        if (killed < kills && done >= ((killed + 0.5) * keys) / kills) killOne();
        if (done % 500 === 0) tell(`${done} keys, ${seen.calls} calls, ${killed} kills`);
      });
      await restarting;
      const [effects] = await installation.sql(
        `select count(*)::int as folders, count(distinct name)::int as names from monitoring.folder where name like 'once-%'`,
      );
      assert.deepEqual(effects, { folders: keys, names: keys }, "one effect per key");
      const [told] = await installation.sql(
        `select (select count(*)::int from kernel.told where type = 'demarc.monitoring.folder.created'
            and data->'resource'->>'name' like 'once-%') as news,
          (select count(*)::int from access.audit where item_name like 'once-%') as entries,
          (select count(*)::int from kernel.idempotency) as records`,
      );
      assert.deepEqual(told, { news: keys, entries: keys, records: keys }, "one event, entry and record per key");
      return { ...seen, killed };
    } finally {
      await restarting.catch(() => {});
      await installation.end();
    }
  },
};
