import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { type FaultRun, inTurns } from "./fault-run.ts";
import { type Installation, type Reply, startInstallation } from "./installation.ts";

/** How long a key is called after its deletion: beyond the second in which all must know. */
const afterMs = 1_200;
/** Calls that each server admits before. */
const admittedBefore = 5;
const loops = 2;

/** `outcome`: neither of the two is told as it came. */
type Called = { at: "deleter" | "other"; sentMs: number; outcome: string };
type Seen = { calls: number; admittedElsewhere: number; longestMs: number; slowestDeleteMs: number };

/** Wrong credentials beyond 60 a minute from one address are refused with 429. */
function outcomeOf({ status, text, body }: Reply): string {
  if (status === 200) return "admitted";
  return status === 401 || (status === 429 && body.code === "credential_throttled") ? "refused" : `${status} ${text}`;
}

/** One key: called at both servers all the time, deleted at one of them in the middle. */
async function round(installation: Installation, index: number, seen: Seen): Promise<void> {
  const { servers, call } = installation;
  const [deleter, other] = index % 2 === 0 ? [servers[0]!, servers[1]!] : [servers[1]!, servers[0]!];
  const made = await call(deleter, "POST", "/v1/key", {
    body: { title: `revoked-${index}`, roles: [{ roleId: "read_only" }] },
  });
  assert.equal(made.status, 201, made.text);
  const { id, secret } = made.body as { id: string; secret: string };
  const called: Called[] = [];
  let over = false;
  async function loop(at: Called["at"]): Promise<void> {
    while (!over) {
      const sentMs = performance.now();
      const reply = await call(at === "deleter" ? deleter : other, "GET", "/v1/principal/self", { key: secret });
      called.push({ at, sentMs, outcome: outcomeOf(reply) });
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  }
  const load = Promise.all(Array.from({ length: loops }, () => [loop("deleter"), loop("other")]).flat());
  load.catch(() => {});
  const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const inUse = (at: Called["at"]) =>
    called.filter((one) => one.at === at && one.outcome === "admitted").length >= admittedBefore;
  while (!(inUse("deleter") && inUse("other"))) {
    const refused = called.find(({ outcome }) => outcome !== "admitted");
    assert.equal(refused, undefined, "a key in force was refused");
    await Promise.race([rest(5), load]);
  }
  const askedMs = performance.now();
  assert.equal((await call(deleter, "DELETE", `/v1/key/${id}`)).status, 204);
  const repliedMs = performance.now();
  await rest(afterMs);
  over = true;
  await load;

  const late = called.filter(({ outcome, sentMs }) => outcome === "admitted" && sentMs > repliedMs);
  const here = late.filter(({ at }) => at === "deleter").length;
  const anywhere = late.filter(({ sentMs }) => sentMs > repliedMs + 1_000).length;
  assert.deepEqual({ here, anywhere }, { here: 0, anywhere: 0 }, "admitted after the deletion");
  const odd = called.find(({ outcome }) => outcome !== "admitted" && outcome !== "refused");
  assert.equal(odd, undefined, "neither admitted nor refused");
  seen.calls += called.length;
  seen.admittedElsewhere += late.length;
  seen.longestMs = Math.max(seen.longestMs, ...late.map(({ sentMs }) => Math.ceil(sentMs - repliedMs)));
  seen.slowestDeleteMs = Math.max(seen.slowestDeleteMs, Math.ceil(repliedMs - askedMs));
}

export const faultRun: FaultRun = {
  about: "32. keys deleted through one of two servers while both are called with them, and connections are cut",
  counts: {
    keys: { about: "keys, one after another deleted", short: 30, long: 1_000 },
    cuts: { about: "LISTEN connections ended by the database in between", short: 3, long: 100 },
    atOnce: { about: "keys under load at a time", short: 10, long: 6 },
  },
  async run({ keys = 1, cuts = 1, atOnce = 1 }, tell) {
    const installation = await startInstallation(2);
    const seen: Seen = { calls: 0, admittedElsewhere: 0, longestMs: 0, slowestDeleteMs: 0 };
    let [done, cut] = [0, 0];

    async function cutOne(): Promise<void> {
      cut++;
      await installation.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'demarc listener' order by random() limit $1`,
        [randomInt(1, 3)],
      );
    }
    try {
      await inTurns(keys, atOnce, async (index) => {
        await round(installation, index, seen);
        done++;
        if (cut < cuts && done >= ((cut + 0.5) * keys) / cuts) await cutOne();
        if (done % 100 === 0) tell(`${done} keys, ${seen.calls} calls, ${cut} cuts`);
      });
      const { calls, admittedElsewhere, longestMs, slowestDeleteMs } = seen;
      return { calls, cut, admittedAtTheOtherInTheSecond: admittedElsewhere, longestMs, slowestDeleteMs };
    } finally {
      await installation.end();
    }
  },
};
