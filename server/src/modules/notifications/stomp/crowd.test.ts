import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { connectClient, openClient, type StompClient, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";

// Many sessions at once: what is counted, read and given together for all of them.

const stomp = {
  loginSeconds: 60,
  preLoginBytes: 16_384,
  bufferBytes: 1_048_576,
  heartBeat: [10_000, 10_000] as const,
  maxDeliveries: 10,
  origins: [],
  tcpPort: 0,
  sessions: { principal: 110, tenant: 115, process: 10_000 },
  chat: null,
};
const server = await startServer({ modules: [...modules, planted], settings: { stomp } });
const other = await startServer({ modules: [...modules, planted], settings: { stomp }, beside: server });
const freshTenant = (name: string) => server.tenant(server.rootId, "customer", name);
const holds = ["notification.subscribe", "export.run"] as const;

const tally = () =>
  server.sql(
    "select tenant_id, principal_id, process_id, sessions::int from notifications.stomp_tally order by 1, 2, 3",
  );
const counted = () =>
  server.sql(`select s.tenant_id, p.principal_id, s.process_id, count(*)::int as sessions
    from notifications.stomp_session s cross join lateral (values (''), (s.principal_id)) p (principal_id)
    group by 1, 2, 3 order by 1, 2, 3`);

/** Who shows no credential at the handshake shares the bucket of open routes. */
const known = (key: string) => ({ headers: { "x-api-key": key } });

/** Connects so many at once, half of them to each server. */
async function connectMany(key: string, count: number) {
  const clients = await Promise.all(
    Array.from({ length: count }, (_, n) => openClient(n % 2 === 0 ? server.url : other.url, known(key))),
  );
  for (const client of clients) client.send(`CONNECT\naccept-version:1.2\npasscode:${key}\n\n\0`);
  await eventually(() => clients.every(({ frames }) => frames.length > 0));
  return {
    connected: clients.filter(({ of }) => of("CONNECTED").length > 0),
    refused: clients.filter(({ of }) => of("ERROR")[0]?.headers.code === "sessions_full"),
  };
}

test("however many connect at once to two servers, there are exactly as many sessions as may be", async () => {
  const tenant = await freshTenant("Crowd");
  const [first, second] = [await server.key(tenant, holds), await server.key(tenant, holds)];
  const one = await connectMany(first, 113);
  assert.deepEqual([one.connected.length, one.refused.length], [110, 3]);
  const two = await connectMany(second, 9);
  assert.deepEqual([two.connected.length, two.refused.length], [5, 4]);
  assert.deepEqual(await tally(), await counted());
  for (const client of [...one.connected, ...two.connected]) client.cut();
  await eventually(async () => (await tally()).length === 0 && (await counted()).length === 0);
});

test("sessions of a server that died count against nobody, and are gone from the tally when they are given up", async () => {
  const tenant = await freshTenant("Widow");
  const key = await server.key(tenant, holds);
  await server.sql(
    `insert into notifications.stomp_session (tenant_id, id, principal_id, principal_kind, principal_name, process_id, address, stomp_version, label, connected_at, last_seen_at)
      select $1, 'ses_dead' || n, (select key_id from access.key_secret where hint = $2), 'key', 'k', 'dead', '', '1.2', 'v1', now(), now() from generate_series(1, 115) n`,
    [tenant, key.slice(0, 14)],
  );
  assert.equal((await server.sql("select from notifications.stomp_tally where process_id = 'dead'")).length, 2);
  (await connectClient(server.url, key)).cut();
  await server.sql("update kernel.process set since = since - interval '1 minute'");
  await server.sql("select notifications.release_sessions(now())");
  assert.equal((await server.sql("select from notifications.stomp_tally where process_id = 'dead'")).length, 0);
});

test("a database that has crashed forgets who is alive, but ends no session by that", async () => {
  const client = await connectClient(server.url, await server.key(await freshTenant("Crash"), holds));
  const [row] = await server.sql("select id from notifications.stomp_session");
  // One transaction: no heartbeat comes between.
  await server.sql("truncate kernel.process; select notifications.release_sessions(now())");
  assert.deepEqual(await server.sql("select id from notifications.stomp_session"), [row]);
  assert.equal(client.closed(), null);
  client.cut();
});

test("a crowd at one place gets every event once and in order, and ends when its key is revoked", async () => {
  const tenant = await freshTenant("Line");
  const [key, writer] = [await server.key(tenant, holds), await server.key(tenant, ["export.run"])];
  const clients = await Promise.all(
    Array.from({ length: 110 }, () => connectClient(server.url, key, "1.2", "", known(key))),
  );
  await Promise.all(clients.map((client) => subscribe(client, "a", "/topic/event", "types:demarc.export.*\n")));
  const made: string[] = [];
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(
      Array.from({ length: 4 }, (_, n) => server.post("/v1/thing", { name: `line ${round} ${n}` }, { key: writer })),
    );
    made.push(...answers.map(({ body }) => body.id as string));
    await eventually(() => clients.every((client) => client.messages().length >= made.length));
  }
  const orders = new Set(clients.map((client) => client.subjects().join()));
  assert.equal(orders.size, 1);
  assert.deepEqual([...orders].join().split(",").sort(), [...made].sort());
  await server.sql(
    "update access.key set enabled = false where id = (select key_id from access.key_secret where hint = $1)",
    [key.slice(0, 14)],
  );
  await server.kernel.forget();
  await eventually(() => clients.every((client) => client.closed() !== null));
  assert.deepEqual(
    new Set(await Promise.all(clients.map((client) => client.fault()))),
    new Set(["session_ended 1008"]),
  );
});

test("callers of one tenant who may see different things are never given each other's", async () => {
  const tenant = await freshTenant("Sight");
  const managing = ["notification.subscribe", "notification.manage"] as const;
  const writer = await server.key(tenant, [...managing, "export.run"]);
  const wide = [await server.key(tenant, [...managing, "export.run"]), writer];
  const narrow = await server.key(tenant, managing);
  const clients: StompClient[] = [];
  for (const key of [...wide, narrow]) {
    const client = await connectClient(server.url, key);
    await subscribe(client, "a");
    clients.push(client);
  }
  for (let n = 0; n < 5; n++) {
    await server.post("/v1/thing", { name: `sight ${n}` }, { key: writer });
    await server.post(
      "/v1/stomp-queue",
      { name: `sight-${n}`, types: ["demarc.notifications.queue.*"] },
      { key: writer },
    );
  }
  const kinds = (client: StompClient) => client.messages().map(({ headers }) => headers["event-type"]!.split(".")[2]);
  const both = Array.from({ length: 5 }, () => ["thing", "queue"]).flat();
  await eventually(() => clients.every((client) => kinds(client).filter((kind) => kind === "queue").length === 5));
  assert.deepEqual(clients.map(kinds), [both, both, both.filter((kind) => kind === "queue")]);
  for (const client of clients) client.cut();
});
