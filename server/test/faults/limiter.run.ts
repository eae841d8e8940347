import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import type { FaultRun, Figures } from "./fault-run.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { ended, start } from "./process.ts";

const loopsPerServer = 4;
const rate = { ratePerSecond: 40, burst: 80 };

/** A zone in which it is around noon, so that no midnight comes in between. */
function noonZone(): string {
  const hours = 12 - new Date().getUTCHours();
  // The signs of these zones are the other way round.
  return hours === 0 ? "Etc/GMT" : `Etc/GMT${hours > 0 ? "-" : "+"}${Math.abs(hours)}`;
}

/** A customer under a plan of its own; its key may do nothing but call. */
async function customer({ servers, call }: Installation, name: string, api: object): Promise<string> {
  const post = async (path: string, body: object, headers: Record<string, string> = {}) => {
    const reply = await call(servers[0]!, "POST", path, { body, headers });
    assert.equal(reply.status, 201, reply.text);
    return reply.body;
  };
  const plan = await post("/v1/plan", { name, lanes: { api } });
  const tenant = await post("/v1/tenant", { name, kind: "customer", timeZone: noonZone(), planId: plan.id });
  const made = await post(
    "/v1/key",
    { title: "load", roles: [{ roleId: "read_only" }] },
    { "demarc-tenant": tenant.id },
  );
  return made.secret;
}

/** `lost`: the server went before its reply, so nobody knows whether it counted; `away`: it never had the call. */
type Called = { outcome: "admitted" | "refused" | "lost" | "away"; sentMs: number; repliedMs: number };

async function callOnce({ servers, call }: Installation, index: number, key: string): Promise<Called> {
  const sentMs = performance.now();
  let outcome: Called["outcome"] = "lost";
  const reply = await call(servers[index]!, "GET", "/v1/principal/self", { key }).catch((error: { code?: string }) => {
    if (error.code === "ECONNREFUSED") outcome = "away";
    return null;
  });
  const repliedMs = performance.now();
  if (!reply) return { outcome, sentMs, repliedMs };
  assert.ok(reply.status === 200 || reply.status === 429, `${reply.status} ${reply.text}`);
  return { outcome: reply.status === 200 ? "admitted" : "refused", sentMs, repliedMs };
}

/** Calls at all servers at once until `isOver`; gives what each became. */
async function load(installation: Installation, key: string, seen: Called[], isOver: () => boolean): Promise<void> {
  const loops = installation.servers.flatMap((_, index) =>
    Array.from({ length: loopsPerServer }, async () => {
      while (!isOver()) {
        const called = await callOnce(installation, index, key);
        seen.push(called);
        if (called.outcome !== "admitted") await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }),
  );
  await Promise.all(loops);
}

const count = (seen: readonly Called[], outcome: Called["outcome"]) =>
  seen.filter((called) => called.outcome === outcome).length;

/** Calls one after another until one is refused: less than a call is left then. */
async function drain(installation: Installation, key: string, seen: Called[]): Promise<Called> {
  for (;;) {
    const called = await callOnce(installation, 0, key);
    if (called.outcome === "refused") return called;
    seen.push(called);
  }
}

/**
 * What a bucket grants to a load that is always above its rate: from empty to empty what flowed in, to the call, and
 * before that no more than its burst and what flowed in.
 */
async function runRate(installation: Installation, seconds: number): Promise<Figures> {
  const key = await customer(installation, "Rate", { ...rate, perDay: null });
  const perMs = rate.ratePerSecond / 1_000;
  const first: Called[] = [];
  const startedMs = performance.now();
  await load(installation, key, first, () => first.at(-1)?.outcome === "refused");
  const empty = await drain(installation, key, first);
  const atOnce = count(first, "admitted");
  assert.ok(atOnce >= rate.burst && atOnce <= (rate.burst + (empty.repliedMs - startedMs) * perMs) * 1.01, `${atOnce}`);

  const seen: Called[] = [];
  await load(installation, key, seen, () => performance.now() > empty.repliedMs + seconds * 1_000);
  const emptyAgain = await drain(installation, key, seen);
  const admitted = count(seen, "admitted");
  const least = Math.ceil((emptyAgain.sentMs - empty.repliedMs) * perMs - 1);
  const most = Math.floor((emptyAgain.repliedMs - empty.sentMs) * perMs + 1);
  assert.ok(admitted >= least, `${admitted} admitted of at least ${least}`);
  assert.ok(admitted <= most * 1.01, `${admitted} admitted of at most ${most}`);
  const overPercent = Math.max(0, (admitted / most - 1) * 100).toFixed(2);
  return { burstAdmitted: atOnce, admitted, least, most, refused: count(seen, "refused"), overPercent };
}

/** The day: never over, and short of it only by what died with a kill. */
async function runDay(installation: Installation, perDay: number, ends: number): Promise<Figures> {
  const key = await customer(installation, "Day", { ratePerSecond: 10_000, burst: 100_000, perDay });
  const { servers } = installation;
  const seen: Called[] = [];
  let [killed, stopped] = [0, 0];
  let restarting: Promise<void> | null = null;
  /** Killed and stopped in turns: only a kill may lose what was drawn. */
  async function restart(): Promise<void> {
    const index = randomInt(servers.length);
    if (killed <= stopped) {
      killed++;
      return installation.restart(index);
    }
    stopped++;
    await ended(servers[index]!.child, "SIGTERM");
    servers[index] = await start(installation.settings[index]!);
  }
  const isSpent = () =>
    seen.length > 100 && seen.slice(-100).every(({ outcome }) => outcome === "refused" || outcome === "away");
  await load(installation, key, seen, () => {
    const begun = killed + stopped;
    if (restarting === null && begun < ends && count(seen, "admitted") > ((begun + 0.5) * perDay) / (ends + 1)) {
      restarting = restart().finally(() => {
        restarting = null;
      });
    }
    return restarting === null && isSpent();
  });
  // What a server holds, it grants itself; what it was told a moment ago it asks again after a second.
  for (let quiet = 0; quiet < 2; ) {
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    let granted = 0;
    for (const index of servers.keys()) {
      let called = await callOnce(installation, index, key);
      for (; called.outcome === "admitted"; called = await callOnce(installation, index, key)) {
        seen.push(called);
        granted++;
      }
    }
    quiet = granted === 0 ? quiet + 1 : 0;
  }
  const [admitted, lost] = [count(seen, "admitted"), count(seen, "lost")];
  const block = Math.min(50, Math.max(1, Math.floor(perDay / 200)));
  assert.equal(killed + stopped, ends);
  assert.ok(admitted <= perDay, `${admitted} of ${perDay} a day`);
  assert.ok(
    admitted >= perDay - killed * block - lost,
    `${admitted} of ${perDay} a day, ${killed} kills, ${lost} lost`,
  );
  return {
    killed,
    stopped,
    admittedOfTheDay: admitted,
    missing: perDay - admitted,
    atMostLostByKills: killed * block + lost,
  };
}

export const faultRun: FaultRun = {
  about: "limits of four servers on one database: a load above the rate, and a day that is spent under kills",
  counts: {
    servers: { about: "servers", short: 2, long: 4 },
    seconds: { about: "seconds of load above the rate", short: 3, long: 60 },
    perDay: { about: "calls of the day", short: 600, long: 20_000 },
    ends: {
      about: "times a server is killed or stopped, and started again, while the day is spent",
      short: 2,
      long: 12,
    },
  },
  async run({ servers = 1, seconds = 1, perDay = 1, ends = 1 }, tell) {
    const installation = await startInstallation(servers);
    try {
      const figures = await runRate(installation, seconds);
      tell(`rate: ${JSON.stringify(figures)}`);
      return { ...figures, ...(await runDay(installation, perDay, ends)) };
    } finally {
      await installation.end();
    }
  },
};
