/**
 * (i) Fan-out: events to subscribers on as many sockets, beside a bare `ws` server that sends the same frames to as many,
 * in turns. Run by itself (`node bench/fan-out/fan-out.ts [subscribers ...]`) or by bench.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { call, type Demarc, startDemarc } from "../demarc.ts";
import { median, quantile, rounded } from "../figures.ts";
import { cpuOfTree, memoryMiB } from "../machine.ts";
import { type Audience, gatherAudience } from "./audience.ts";
import { startBare } from "./bare.ts";
import { type Address, openEar } from "./ear.ts";

/** Events under way at a time in a burst. */
const burst = 20;
/** Messages that each round is to have at least: the clock of CPU time ticks every 10 ms. */
const enough = 40_000;
/** Principals that share the sockets evenly: a tenant has 30 keys at most. */
const principals = 20;

/** One that sends news to all its sockets. */
type Contender = {
  name: string;
  pid: number;
  address(index: number): Address;
  /** Makes so many events at once. */
  tell(events: number): Promise<unknown>;
  /** When the first of the last so many events, all received, was numbered or begun to be sent: ms since 1970. */
  beganAt(events: number): Promise<number>;
};

export type FanOut = {
  name: string;
  sockets: number;
  /** Messages a second: one event at a time, the next when all have it, and 20 events at a time. */
  onePerSecond: number;
  burstPerSecond: number;
  /** The same as a share of the bare server's, in the same round. */
  oneOfBare: number;
  burstOfBare: number;
  /** CPU of the serving process, and of all clients, in microseconds a message. */
  oneCpuUs: number;
  burstCpuUs: number;
  clientCpuUs: number;
  /** One event at a time: from its number in the log to the receipt of a message. */
  p50Ms: number;
  p99Ms: number;
  kilobytesASocket: number;
  connectsPerSecond: number;
};

type Stage = { contender: Contender; audience: Audience; kilobytesASocket: number; rounds: Round[] };
type Round = { one: Pace; burst: Pace };
type Pace = { perSecond: number; serverUs: number; clientUs: number; lags: Float64Array };

async function fill(contender: Contender, sockets: number): Promise<Stage> {
  const before = memoryMiB(contender.pid) ?? Number.NaN;
  const audience = await gatherAudience(Array.from({ length: sockets }, (_, index) => contender.address(index)));
  // What connecting left behind is collected, and leaves are taken back, while nothing happens.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const kilobytesASocket = (((memoryMiB(contender.pid) ?? Number.NaN) - before) * 1_024) / sockets;
  return { contender, audience, kilobytesASocket, rounds: [] };
}

async function pace({ contender, audience }: Stage, events: number, times: number): Promise<Pace> {
  const use = () => ({ server: cpuOfTree(contender.pid, false), client: audience.cpu() });
  const before = use();
  const lags: number[] = [];
  let spentMs = 0;
  for (let n = 0; n < times; n++) {
    const { receipts } = await audience.expect(events);
    await contender.tell(events);
    const all = await receipts;
    const beganAt = await contender.beganAt(events);
    const took = all.map((at) => at - beganAt).sort();
    spentMs += took.at(-1)!;
    lags.push(...took);
  }
  const after = use();
  const messages = lags.length;
  return {
    perSecond: (messages * 1_000) / spentMs,
    serverUs: ((after.server - before.server) * 1e6) / messages,
    clientUs: ((after.client - before.client) * 1e6) / messages,
    lags: Float64Array.from(lags).sort(),
  };
}

function scoreOf({ contender, audience, kilobytesASocket, rounds }: Stage, bare: Stage, sockets: number): FanOut {
  const of = (pick: (round: Round) => number, digits = 0) => rounded(median(rounds.map(pick)), digits);
  const share = (pick: (round: Round) => number) =>
    rounded(median(rounds.map((round, index) => pick(round) / pick(bare.rounds[index]!))));
  return {
    name: contender.name,
    sockets,
    onePerSecond: of(({ one }) => one.perSecond),
    burstPerSecond: of(({ burst: many }) => many.perSecond),
    oneOfBare: share(({ one }) => one.perSecond),
    burstOfBare: share(({ burst: many }) => many.perSecond),
    oneCpuUs: of(({ one }) => one.serverUs, 1),
    burstCpuUs: of(({ burst: many }) => many.serverUs, 1),
    clientCpuUs: of(({ one }) => one.clientUs, 1),
    p50Ms: of(({ one }) => quantile(one.lags, 0.5), 1),
    p99Ms: of(({ one }) => quantile(one.lags, 0.99), 1),
    kilobytesASocket: rounded(kilobytesASocket, 1),
    connectsPerSecond: audience.connectsPerSecond,
  };
}

/** Each with all its sockets open, in turns: the neighbours of the machine slow them all alike. The first is the yardstick. */
async function compareFanOut(contenders: readonly Contender[], sockets: number, rounds: number): Promise<FanOut[]> {
  const stages: Stage[] = [];
  try {
    for (const contender of contenders) stages.push(await fill(contender, sockets));
    for (const stage of stages) await pace(stage, 1, 5);
    for (let round = 0; round < rounds; round++)
      for (const stage of stages)
        stage.rounds.push({
          one: await pace(stage, 1, Math.min(60, Math.max(10, enough / sockets))),
          burst: await pace(stage, burst, Math.min(10, Math.max(1, enough / sockets / burst))),
        });
    return stages.map((stage) => scoreOf(stage, stages[0]!, sockets));
  } finally {
    for (const { audience } of stages) await audience.close();
  }
}

/** Demarc, with sessions of several principals of one tenant. */
async function prepareDemarc(demarc: Demarc, database: pg.Client): Promise<Contender> {
  const key = demarc.key!;
  const { items: plans } = await call(demarc, key, "GET", "/plan");
  const lane = { ratePerSecond: 10_000, burst: 100_000, perDay: null };
  await call(demarc, key, "PATCH", `/plan/${plans[0].id}`, { lanes: { api: lane, scim: lane, publish: lane } });
  const keys: string[] = [];
  for (let n = 0; n < principals; n++) {
    const issued = { title: `bench-${n}`, roles: [{ roleId: "tenant_administrator" }] };
    keys.push((await call(demarc, key, "POST", "/key", issued)).secret);
  }
  let made = 0;
  function tell(events: number): Promise<unknown> {
    const items = Array.from({ length: events }, () => ({ path: [`Folder ${++made}`] }));
    return call(demarc, key, "POST", "/folder/import", { mode: "atomic", items });
  }
  async function beganAt(events: number): Promise<number> {
    const { rows } = await database.query("select logged_at from kernel.event order by position desc limit $1", [
      events,
    ]);
    return rows.at(-1).logged_at.getTime();
  }
  return {
    name: "Demarc",
    pid: demarc.pid,
    address: (index) => ({
      port: demarc.port,
      path: "/v1/stomp",
      headers: { "x-api-key": keys[index % principals]! },
      hello: [
        "CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0",
        "SUBSCRIBE\nid:0\ndestination:/topic/event/monitoring.folder\nreceipt:0\n\n\0",
      ],
      answers: 2,
    }),
    tell,
    beganAt,
  };
}

/** A MESSAGE as a subscriber of Demarc's gets it. */
async function sampleFrame({ address, tell }: Contender): Promise<string> {
  let got: (text: string) => void;
  const message = new Promise<string>((resolve) => {
    got = resolve;
  });
  const ear = await openEar(address(0), (_, octets) => {
    const text = octets.toString();
    if (text.startsWith("MESSAGE")) got(text);
  });
  await tell(1);
  const text = await message;
  ear.socket.destroy();
  return text;
}

/** Fan-out of all contenders, in one run. */
export async function measureFanOut(sizes: readonly number[], rounds: number): Promise<FanOut[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "demarc-fan-"));
  const rows: FanOut[] = [];
  for (const sockets of sizes) {
    const own = join(dataDir, String(sockets));
    const demarc = await startDemarc(own, "off", nodeArgs, { DEMARC_STOMP_SESSIONS: "20000,20000,20000" });
    const database = new pg.Client({ connectionString: demarc.databaseUrl });
    await database.connect();
    const ours = await prepareDemarc(demarc, database);
    const bare = await startBare(await sampleFrame(ours));
    try {
      const yardstick: Contender = {
        name: "bare ws",
        pid: bare.pid,
        address: () => ({ port: bare.port, path: "/", headers: {}, hello: [], answers: 0 }),
        tell: bare.tell,
        beganAt: bare.beganAt,
      };
      rows.push(...(await compareFanOut([yardstick, ours], sockets, rounds)));
    } finally {
      await bare.stop();
      await database.end();
      await demarc.stop();
      rmSync(own, { recursive: true, force: true });
    }
  }
  rmSync(dataDir, { recursive: true, force: true });
  return rows;
}

const nodeArgs = process.env.BENCH_NODE_ARGS?.split(" ") ?? [];
if (process.argv[1] === new URL(import.meta.url).pathname) {
  console.table(await measureFanOut(process.argv.slice(2).map(Number), Number(process.env.BENCH_ROUNDS ?? 3)));
  process.exit(0);
}
