/**
 * (i) Fan-out: events to subscribers on as many sockets, beside a bare `ws` server that sends the same frames to as many,
 * in turns. Run by itself (`node bench/fan-out/fan-out.ts <rounds> <subscribers> ...`) or by bench.ts.
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
import { findRabbitMq, type RabbitMq, startRabbitMq } from "./rabbitmq.ts";

/** Events under way at a time in a burst. */
const burst = 20;
/** Messages that each round is to have at least: the clock of CPU time ticks every 10 ms. */
const enough = 40_000;
const restSeconds = 2;
/** RabbitMQ takes some 300 KiB a socket, and with many more it would be the memory that is measured. */
const mostForRabbitMq = 1_000;
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
  /**
   * Messages a second from the first receipt to the last: one event at a time, the next when all have it, and 20 events
   * at a time. What comes before the first receipt stands in the latencies.
   */
  onePerSecond: number;
  burstPerSecond: number;
  /** The same as a share of the bare server's, in the same round. */
  oneOfBare: number;
  burstOfBare: number;
  /** CPU of the serving process beyond what it takes at rest, and of all clients, in microseconds a message. */
  oneCpuUs: number;
  burstCpuUs: number;
  clientCpuUs: number;
  /** One event at a time: from its number in the log to the receipt of a message. */
  p50Ms: number;
  p99Ms: number;
  /** Resident memory a socket: once all are open, and after all rounds. */
  restingKilobytes: number;
  usedKilobytes: number;
  connectsPerSecond: number;
  connectCpuUs: number;
};

type Stage = {
  contender: Contender;
  sockets: number;
  audience: Audience;
  connectCpuUs: number;
  restingKilobytes: number;
  kilobytesASocket(): number;
  cpuShareAtRest: number;
  rounds: Round[];
};
type Round = { one: Pace; burst: Pace };
type Pace = { perSecond: number; serverUs: number; clientUs: number; lags: Float64Array };

async function fill(contender: Contender, sockets: number): Promise<Stage> {
  const { pid } = contender;
  const kilobytes = () => (memoryMiB(pid) ?? Number.NaN) * 1_024;
  const [emptyKilobytes, emptyCpu] = [kilobytes(), cpuOfTree(pid, false)];
  const audience = await gatherAudience(Array.from({ length: sockets }, (_, index) => contender.address(index)));
  const connectCpuUs = ((cpuOfTree(pid, false) - emptyCpu) * 1e6) / sockets;
  // What connecting left behind is collected, and leaves are taken back, while nothing happens.
  await pause(1_000);
  const kilobytesASocket = () => (kilobytes() - emptyKilobytes) / sockets;
  const restingKilobytes = kilobytesASocket();
  const restingCpu = cpuOfTree(pid, false);
  await pause(restSeconds * 1_000);
  const cpuShareAtRest = (cpuOfTree(pid, false) - restingCpu) / restSeconds;
  return { contender, sockets, audience, connectCpuUs, restingKilobytes, kilobytesASocket, cpuShareAtRest, rounds: [] };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function pace(stage: Stage, events: number, times: number): Promise<Pace> {
  const { contender, audience, sockets } = stage;
  // What the server does also when there is no news is not the messages', however long they took.
  const use = () => ({
    server: cpuOfTree(contender.pid, false) - (stage.cpuShareAtRest * performance.now()) / 1_000,
    client: audience.cpu(),
  });
  const before = use();
  const lags = new Float64Array(sockets * events * times);
  let spentMs = 0;
  for (let n = 0; n < times; n++) {
    const { receipts } = await audience.expect(events);
    await contender.tell(events);
    const all = await receipts;
    const beganAt = await contender.beganAt(events);
    const took = all.map((at) => at - beganAt).sort();
    spentMs += took.at(-1)! - took[0]!;
    lags.set(took, n * took.length);
  }
  const after = use();
  const messages = lags.length;
  return {
    perSecond: (messages * 1_000) / spentMs,
    serverUs: ((after.server - before.server) * 1e6) / messages,
    clientUs: ((after.client - before.client) * 1e6) / messages,
    lags: lags.sort(),
  };
}

function scoreOf(stage: Stage, bare: Stage): FanOut {
  const { contender, sockets, audience, rounds } = stage;
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
    restingKilobytes: rounded(stage.restingKilobytes, 1),
    usedKilobytes: rounded(stage.kilobytesASocket(), 1),
    connectsPerSecond: audience.connectsPerSecond,
    connectCpuUs: rounded(stage.connectCpuUs, 0),
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
          one: await pace(stage, 1, Math.min(60, Math.max(10, Math.ceil(enough / sockets)))),
          burst: await pace(stage, burst, Math.min(10, Math.ceil(enough / sockets / burst))),
        });
    return stages.map((stage) => scoreOf(stage, stages[0]!));
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
  ear.end();
  return text;
}

/** RabbitMQ is told the body of the same event; its frames have headers of their own. */
function contendRabbitMq(rabbit: RabbitMq, frame: string): Contender {
  const body = frame.slice(frame.indexOf("\n\n") + 2, -1);
  let beganAt = Number.NaN;
  return {
    name: "RabbitMQ",
    pid: rabbit.pid,
    address: () => rabbit.address,
    async tell(events) {
      beganAt = performance.timeOrigin + performance.now();
      rabbit.tell(body, events);
    },
    beganAt: async () => beganAt,
  };
}

/** Fan-out of all contenders, in one run: each number of sockets with fresh servers. */
export async function measureFanOut(sizes: readonly number[], rounds: number): Promise<FanOut[]> {
  const directory = mkdtempSync(join(tmpdir(), "demarc-fan-"));
  const rows: FanOut[] = [];
  try {
    for (const sockets of sizes) rows.push(...(await measureSize(join(directory, String(sockets)), sockets, rounds)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return rows;
}

async function measureSize(directory: string, sockets: number, rounds: number): Promise<FanOut[]> {
  const ends: (() => Promise<unknown>)[] = [];
  try {
    const demarc = await startDemarc(join(directory, "demarc"), "off", [], {
      DEMARC_STOMP_SESSIONS: "20000,20000,20000",
    });
    ends.push(demarc.stop);
    const database = new pg.Client({ connectionString: demarc.databaseUrl });
    await database.connect();
    ends.push(() => database.end());
    const ours = await prepareDemarc(demarc, database);
    const frame = await sampleFrame(ours);
    const bare = await startBare(frame);
    ends.push(bare.stop);
    const contenders: Contender[] = [
      {
        name: "bare ws",
        pid: bare.pid,
        address: () => ({ port: bare.port, path: "/", headers: {}, hello: [], answers: 0 }),
        tell: bare.tell,
        beganAt: bare.beganAt,
      },
      ours,
    ];
    const place = findRabbitMq();
    if (place !== null && sockets <= mostForRabbitMq) {
      const rabbit = await startRabbitMq(place, join(directory, "rabbitmq"));
      ends.push(rabbit.stop);
      contenders.push(contendRabbitMq(rabbit, frame));
    }
    return await compareFanOut(contenders, sockets, rounds);
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

// Whoever is started here ends with this process, however that ends; some stay at its exits for nothing.
process.setMaxListeners(50);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [rounds = 3, ...sizes] = process.argv.slice(2).map(Number);
  console.table(await measureFanOut(sizes, rounds));
  process.exit(0);
}
