import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { eventually } from "../harness.ts";
import { connectClient, type StompClient, subscribe } from "../stomp-client.ts";
import { type FaultRun, inTurns } from "./fault-run.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { ended } from "./process.ts";

const types = "types:demarc.directory.user.updated\n";
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

type Place = { tenantId: string; userId: string };

/** Changes a user, at whichever server answers. */
async function change(installation: Installation, { tenantId, userId }: Place, fullname: string): Promise<void> {
  for (;;) {
    const { servers, call } = installation;
    const ask = { body: { fullname }, headers: { "demarc-tenant": tenantId } };
    const server = servers[randomInt(servers.length)]!;
    const answer = await call(server, "PATCH", `/v1/user/${userId}`, ask).catch(() => null);
    if (answer?.status === 200) return;
    if (answer) assert.equal(answer.status, 503, answer.text);
    await pause(randomInt(5, 30));
  }
}

/** The ids of a tenant's changes of users in the order of the log, which has all of them by now. */
async function told({ sql }: Installation, { tenantId }: Place): Promise<string[]> {
  const { waiting } = (await sql("select count(*)::int as waiting from kernel.outbox"))[0];
  if (waiting > 0) return pause(50).then(() => told({ sql } as Installation, { tenantId } as Place));
  const rows = await sql(
    "select id from kernel.event where type = 'demarc.directory.user.updated' and tenant_id = $1 order by position",
    [tenantId],
  );
  return rows.map(({ id }) => id);
}

/**
 * A client that remembers nothing but the events it has processed and, without durable, the cursor of the last one. It
 * comes back whenever its connection ends, at whichever server is there.
 */
function consume(installation: Installation, { tenantId }: Place, durable: string | null) {
  const processed: string[] = [];
  const about = { lives: 0, cuts: 0, stopped: false, client: null as StompClient | null };
  let cursor: string | null = null;
  async function live(): Promise<void> {
    const { servers, key } = installation;
    const client = await connectClient(servers[randomInt(servers.length)]!.url, key);
    about.lives++;
    try {
      const from = cursor === null ? "" : `last-event-id:${cursor}\n`;
      const way = durable === null ? from : `ack:client\nprefetch-count:50\ndurable:${durable}\n`;
      const receipt = await subscribe(client, "a", "/topic/event", `tenant:${tenantId}\n${types}${way}`);
      cursor ??= receipt.headers.cursor!;
      about.client = client;
      for (let n = 0; client.closed() === null && !about.stopped; ) {
        const message = client.messages()[n];
        if (!message) {
          await pause(5);
          continue;
        }
        n++;
        processed.push(message.headers["event-id"]!);
        cursor = message.headers.cursor!;
        if (durable !== null && n % 3 === 0) client.send(`ACK\nid:${message.headers.ack}\n\n\0`);
      }
    } finally {
      about.client = null;
      client.cut();
    }
  }
  /** Cuts the connection in the middle of whatever it does. */
  async function kill(): Promise<void> {
    const client = await eventually(() => about.client);
    await pause(randomInt(30));
    client.cut();
    about.cuts++;
    await eventually(() => about.client !== client);
  }
  const done = (async () => {
    while (!about.stopped) await live().catch(() => pause(100));
  })();
  const hasBegun = () => cursor !== null;
  return { processed, about, done, hasBegun, kill, count: () => new Set(processed).size };
}

/** ST-16: makes changes while something is killed; every consumer has them all in the end, in order but for repeats. */
async function underKills(
  installation: Installation,
  place: Place,
  { changes, kills, name }: { changes: number; kills: number; name: string },
  kill: (consumers: ReturnType<typeof consume>[]) => Promise<void>,
) {
  const before = (await told(installation, place)).length;
  const consumers = [consume(installation, place, name), consume(installation, place, null)];
  try {
    await eventually(() => consumers.every((one) => one.hasBegun()));
    let [done, killed] = [0, 0];
    let killing: Promise<void> = Promise.resolve();
    await inTurns(changes, 4, async (n) => {
      await change(installation, place, `${name} ${n}`);
      done++;
      if (killed < kills && done >= ((killed + Math.random()) * changes) / kills) {
        killed++;
        killing = killing.then(() => kill(consumers));
      }
    });
    await killing;
    assert.equal(killed, kills);
    const all = (await told(installation, place)).slice(before);
    assert.ok(all.length >= changes);
    const until = performance.now() + 90_000;
    while (consumers.some((one) => one.count() < all.length) && performance.now() < until) await pause(50);
    const [durable, byCursor] = consumers;
    assert.deepEqual([...new Set(durable!.processed)], all, "the durable's, in order but for repeats");
    assert.deepEqual([...new Set(byCursor!.processed)], all, "by stored cursor");
    assert.equal(byCursor!.processed.length, all.length, "what was processed and noted does not come again");
    const { cuts, lives } = durable!.about;
    return { cuts, lives, repeats: durable!.processed.length - all.length };
  } finally {
    for (const { about } of consumers) about.stopped = true;
    await Promise.all(consumers.map(({ done }) => done));
  }
}

/** ST-18: what is old and what is new while it is read, each once and in order. */
async function fromTheStart(installation: Installation, place: Place, old: number, fresh: number): Promise<number> {
  const missing = old - (await told(installation, place)).length;
  await inTurns(Math.max(0, missing), 8, (n) => change(installation, place, `old ${n}`));
  const client = await connectClient(installation.servers[0]!.url, installation.key);
  const writing = inTurns(fresh, 4, (n) => change(installation, place, `fresh ${n}`));
  await subscribe(client, "a", "/topic/event", `tenant:${place.tenantId}\n${types}from:start\n`);
  await writing;
  const all = await told(installation, place);
  const until = performance.now() + 60_000;
  while (client.messages().length < all.length && performance.now() < until) await pause(20);
  await pause(200);
  assert.deepEqual(
    client.messages().map(({ headers }) => headers["event-id"]),
    all,
  );
  client.cut();
  return all.length;
}

/** ST-19: a server that is told to end closes every session with 1001, and what they had not settled is another's. */
async function stopped(installation: Installation, place: Place): Promise<number> {
  const { servers, key, call } = installation;
  const headers = { "demarc-tenant": place.tenantId };
  // What is committed at one server is heard at the other.
  const heard = await connectClient(servers[1]!.url, key);
  await subscribe(heard, "a", "/topic/event", `tenant:${place.tenantId}\n${types}`);
  const ask = { body: { fullname: "from the other server" }, headers };
  assert.equal((await call(servers[0]!, "PATCH", `/v1/user/${place.userId}`, ask)).status, 200);
  await heard.next("MESSAGE");
  heard.cut();
  const made = await call(servers[0]!, "POST", "/v1/stomp-queue", { body: { name: "work", types: ["*"] }, headers });
  assert.equal(made.status, 201, made.text);
  const consume = async (index: number) => {
    const client = await connectClient(servers[index]!.url, key);
    const more = `tenant:${place.tenantId}\nack:client-individual\nprefetch-count:20\n`;
    await subscribe(client, "q", "/queue/work", more);
    return client;
  };
  const leaving = await consume(0);
  const others = await Promise.all(Array.from({ length: 8 }, () => connectClient(servers[0]!.url, key)));
  await inTurns(5, 1, (n) => change(installation, place, `queued ${n}`));
  await eventually(() => leaving.messages().length >= 5);
  const staying = await consume(1);
  const beganAt = performance.now();
  const exit = ended(servers[0]!.child, "SIGTERM");
  for (const client of [leaving, ...others]) assert.equal(await client.fault(), "no ERROR, 1001");
  const tookMs = performance.now() - beganAt;
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
  await eventually(() => staying.messages().length >= leaving.messages().length);
  const ids = (client: StompClient) => client.messages().map(({ headers: got }) => got["event-id"]);
  assert.deepEqual(ids(staying), ids(leaving));
  assert.ok(staying.messages().every(({ headers: got }) => got.redelivered === "true"));
  await exit;
  staying.cut();
  return Math.round(tookMs);
}

/** ST-13, and slow consumers: who is silent by agreement stays for a minute; who does not read is sent away. */
async function keepSilent(installation: Installation, place: Place, seconds: number) {
  const { servers, key, sql } = installation;
  const beganAt = performance.now();
  const agreed = await Promise.all(
    ["heart-beat:0,0\n", ""].map((header) => connectClient(servers[0]!.url, key, "1.2", header)),
  );
  const stuck = await connectClient(servers[0]!.url, key);
  stuck.ws.pause();
  for (let n = 0; n < 100; n++)
    stuck.send(`SUBSCRIBE\nid:${n}\ndestination:/topic/event\ntenant:${place.tenantId}\nfrom:start\n\n\0`);
  return async () => {
    await pause(Math.max(0, seconds * 1_000 - (performance.now() - beganAt)));
    for (const client of agreed) assert.deepEqual([client.closed(), client.frames.length], [null, 1]);
    const code = seconds >= 60 ? "slow_consumer" : null;
    if (code) {
      const slow = await sql("select count(*)::int as count from access.activity where code = $1", [code]);
      assert.equal(slow[0].count, 1);
    }
    for (const client of [...agreed, stuck]) client.cut();
  };
}

export const faultRun: FaultRun = {
  about:
    "ST-16. ST-18. ST-19. clients and servers are killed while events come: nobody misses one, and none comes out of order",
  counts: {
    changes: { about: "changes while clients are killed, and again while servers are", short: 80, long: 2_000 },
    clientKills: { about: "connections that are cut, of each of two clients", short: 8, long: 20 },
    serverKills: { about: "SIGKILLs of servers, each followed by a new start", short: 1, long: 5 },
    old: { about: "events that lie in the log when it is read from its start", short: 100, long: 5_000 },
    fresh: { about: "events that come meanwhile", short: 20, long: 500 },
    silence: { about: "seconds of silence", short: 1, long: 65 },
  },
  async run({ changes = 1, clientKills = 1, serverKills = 1, old = 1, fresh = 1, silence: seconds = 1 }, tell) {
    const installation = await startInstallation(2);
    try {
      const { servers, call } = installation;
      const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name: "Alpha", kind: "customer" } });
      const tenantId = made.body.id as string;
      const person = { username: "u", fullname: "0", email: "u@x.example", defaultOrgUnitExternalId: "ROOT" };
      const headers = { "demarc-tenant": tenantId };
      const user = await call(servers[0]!, "POST", "/v1/user", { body: person, headers });
      const place: Place = { tenantId, userId: user.body.id };

      const quiet = await keepSilent(installation, place, seconds);
      const cut = { changes, kills: clientKills, name: "billing" };
      const ofClients = await underKills(installation, place, cut, async (consumers) => {
        await Promise.all(consumers.map((one) => one.kill()));
      });
      assert.equal(ofClients.cuts, clientKills);
      tell(`clients killed: ${JSON.stringify(ofClients)}`);
      await quiet();
      tell(`${seconds} s of silence`);
      let victim = 0;
      const killed = { changes, kills: serverKills, name: "billing-2" };
      const killing = await underKills(installation, place, killed, () => installation.restart(victim++ % 2));
      tell(`servers killed: ${JSON.stringify(killing)}`);
      const events = await fromTheStart(installation, place, old, fresh);
      tell(`${events} events from the start`);
      const stopMs = await stopped(installation, place);
      return { repeats: ofClients.repeats, repeatsOfServers: killing.repeats, eventsRead: events, stopMs, lost: 0 };
    } finally {
      await installation.end();
    }
  },
};
