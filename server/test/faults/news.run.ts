/**
 * All news at once, through all that breaks at once: changes and long work at two servers on one database; feed, STOMP
 * and webhooks that follow them; servers and the database killed, a receiver that fails a fifth of its calls.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { createNamedDatabase } from "../../src/kernel/migrate.ts";
import { startTestCluster } from "../database.ts";
import { type Received, startReceiver } from "../receiver.ts";
import { type FaultRun, type Figures, inTurns } from "./fault-run.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { checkWork, type Place, placeOf, settle, startWork } from "./long-work.ts";
import { followFeed, followStomp, type Reader, read, type Seen } from "./news-readers.ts";

type Cluster = Awaited<ReturnType<typeof startTestCluster>>;
/** `names`: the states of the tenant's user that were acknowledged. */
type Tenant = Place & { userId: string; names: string[] };
type Claim = { subject: string; sequence: number; name: string };

const userUpdated = "demarc.directory.user.updated";
const progress = ["queued", "running", "succeeded"];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function makeTenant(installation: Installation, name: string): Promise<Tenant> {
  const { servers, call } = installation;
  const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name, kind: "customer" } });
  assert.equal(made.status, 201, made.text);
  const user = await call(servers[0]!, "POST", "/v1/user", {
    body: { username: "shared", fullname: "0", email: "shared@x.example", defaultOrgUnitExternalId: "ROOT" },
    headers: { "demarc-tenant": made.body.id },
  });
  assert.equal(user.status, 200, user.text);
  return { ...(await placeOf(installation, made.body.id)), userId: user.body.id, names: [] };
}

/** One change that is made at last and once, whatever becomes of its calls. */
async function change(installation: Installation, { tenantId, userId, names }: Tenant, fullname: string) {
  for (;;) {
    const server = installation.servers[randomInt(installation.servers.length)]!;
    const ask = { body: { fullname }, headers: { "demarc-tenant": tenantId, "idempotency-key": fullname } };
    const answer = await installation.call(server, "PATCH", `/v1/user/${userId}`, ask).catch(() => null);
    if (answer?.status === 200) return names.push(fullname);
    // 409: the first try of this call is still under way somewhere.
    if (answer) assert.ok([409, 503].includes(answer.status), answer.text);
    await pause(randomInt(2, 20));
  }
}

/** At the receipt of an event its state is there: reads it, at whichever server answers. */
function witness(installation: Installation, { tenantId }: Tenant, claims: Claim[], stateReads: { count: number }) {
  return async ({ type, subject, sequence, data }: Seen): Promise<void> => {
    const isWork = type.startsWith("demarc.notifications.operation.");
    // Of many changes some are enough.
    if (!isWork && (type !== userUpdated || sequence % 3 > 0)) return;
    const { status, text, body } = await read(installation, data.url, { "demarc-tenant": tenantId });
    assert.equal(status, 200, text);
    stateReads.count++;
    if (!isWork) claims.push({ subject, sequence, name: body.fullname });
    else if (body.status !== "failed")
      assert.ok(progress.indexOf(body.status) >= progress.indexOf(data.resource.status), `${type}: ${text}`);
  };
}

/** Kills of servers and of the database, spread over the load in an order made by chance, one after another. */
function killer(installation: Installation, cluster: Cluster, kills: { servers: number; database: number }) {
  const left = [...Array(kills.servers).fill("server"), ...Array(kills.database).fill("database")];
  const total = left.length;
  let done = Promise.resolve();
  const made = { server: 0, database: 0 };

  async function killDatabase(): Promise<void> {
    const pid = cluster.pid();
    process.kill(pid, "SIGKILL");
    const limitMs = performance.now() + 60_000;
    const isBack = () =>
      installation.sql("select 1").then(
        () => cluster.pid() !== pid,
        () => false,
      );
    while (!(await isBack())) {
      assert.ok(performance.now() < limitMs, "the database did not come back within a minute");
      await pause(50);
    }
  }
  return {
    made,
    /** `share` of the load is behind. */
    at(share: number): void {
      if (left.length === 0 || share < (total - left.length + 0.5) / total) return;
      const [victim] = left.splice(randomInt(left.length), 1) as ["server" | "database"];
      made[victim]++;
      done = done.then(() =>
        victim === "server" ? installation.restart(randomInt(installation.servers.length)) : killDatabase(),
      );
      done.catch(() => {});
    },
    done: () => done,
  };
}

/** The log of a tenant is its history: numbered from 1, each acknowledged change once, each event after its state. */
async function checkLog(installation: Installation, tenant: Tenant, seen: Seen[], claims: Claim[]): Promise<void> {
  const [state] = await installation.sql(
    `select (select last from kernel.log_sequence where tenant_id = $1)::int as last,
      (select fullname from directory."user" where id = $2)`,
    [tenant.tenantId, tenant.userId],
  );
  assert.equal(seen.length, state.last, "the reader has all events of its tenant");
  assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length, "an event came twice");
  const history = seen.filter(({ type }) => type === userUpdated);
  let name = "0";
  for (const { data } of history) {
    assert.equal(data.previous.fullname, name, "the log follows the history of the row");
    name = data.resource.fullname;
  }
  assert.equal(name, state.fullname);
  const sequenceOf = new Map(history.map(({ sequence, data }) => [data.resource.fullname, sequence]));
  assert.equal(sequenceOf.size, history.length, "a change is told once");
  assert.deepEqual(
    tenant.names.filter((one) => !sequenceOf.has(one)),
    [],
    "an acknowledged change was lost",
  );
  for (const claim of claims)
    assert.ok(sequenceOf.get(claim.name)! >= claim.sequence, `${claim.sequence} came before its state`);
}

/** The receiver has each event, and what came again is the same. Returns how many calls were repeats. */
function checkReceived(received: Received[], seen: Seen[]): number {
  const bodies = new Map<string, string>();
  for (const { headers, body } of received) {
    const id = headers["webhook-id"]!;
    assert.equal(JSON.parse(body).id, id);
    assert.equal(bodies.get(id) ?? body, body, "a repeat has the same octets");
    bodies.set(id, body);
  }
  assert.equal(bodies.size, seen.length);
  return received.length - bodies.size;
}

export const faultRun: FaultRun = {
  about:
    "EV-3. servers and database killed under changes and long work: no news is lost, doubled, out of order or ahead of its state",
  counts: {
    writers: { about: "writers at a time, in three tenants", short: 6, long: 50 },
    changes: { about: "changes of each writer", short: 12, long: 200 },
    operations: { about: "operations beside them", short: 2, long: 40 },
    kills: { about: "SIGKILLs of one of the two servers, each followed by a new start", short: 1, long: 5 },
    database: { about: "SIGKILLs of the database", short: 1, long: 3 },
    seconds: { about: "after which no more changes begin", short: 60, long: 900 },
  },
  async run({ writers = 1, changes = 1, operations = 1, kills = 0, database = 0, seconds = 60 }, tell) {
    const cluster = await startTestCluster();
    const url = await createNamedDatabase(cluster.url, "news");
    const installation = await startInstallation(2, { DEMARC_DATABASE_URL: url, DEMARC_OUTBOUND_ALLOW: "127.0.0.0/8" });
    const { servers, call } = installation;
    const readers: Reader[] = [];
    const failing = await startReceiver((_, response) => void response.writeHead(randomInt(5) === 0 ? 500 : 204).end());
    const killing = killer(installation, cluster, { servers: kills, database });
    try {
      const tenants: Tenant[] = [];
      for (const name of ["Alpha", "Beta", "Gamma"]) tenants.push(await makeTenant(installation, name));
      const [alpha] = tenants as [Tenant];
      const within = { headers: { "demarc-tenant": alpha.tenantId } };
      const types = [userUpdated];
      const hook = await call(servers[0]!, "POST", "/v1/webhook", { body: { url: failing.url, types }, ...within });
      assert.equal(hook.status, 201, hook.text);
      const grant = { title: "reader", roles: [{ roleId: "tenant_administrator" }] };
      const key = await call(servers[0]!, "POST", "/v1/key", { body: grant, ...within });
      assert.equal(key.status, 201, key.text);

      const claims: Claim[][] = tenants.map(() => []);
      const stateReads = { count: 0 };
      const feeds = tenants.map((tenant, n) =>
        followFeed(installation, tenant.tenantId, witness(installation, tenant, claims[n]!, stateReads)),
      );
      const sessions = (["durable", "cursor"] as const).map((place) =>
        followStomp(installation, key.body.secret, place),
      );
      readers.push(...feeds, ...sessions);

      const work = new Map<string, string>();
      const until = performance.now() + seconds * 1_000;
      let done = 0;
      const changing = inTurns(writers, writers, async (writer) => {
        for (let n = 0; n < changes && performance.now() < until; n++) {
          await change(installation, tenants[writer % tenants.length]!, `${writer}-${n}`);
          killing.at(++done / (writers * changes));
          if (done % 1_000 === 0) tell(`${done} changes, ${killing.made.server} + ${killing.made.database} kills`);
        }
      });
      const working = inTurns(operations, 2, async (n) => {
        if (performance.now() > until) return;
        work.set(`work${n}`, await startWork(installation, alpha, `work${n}`));
        while (done < (n * writers * changes) / operations && performance.now() < until) await pause(20);
      });
      await Promise.all([changing, working]);
      await killing.done();
      const givenUp = await checkWork(installation, work);
      // A feed ends at what is numbered; after a kill another process takes that over within 5 s.
      await settle(installation, "log", async () => (await installation.sql("select from kernel.outbox")).length === 0);
      for (const feed of feeds) await feed.stop();
      for (const [n, tenant] of tenants.entries()) await checkLog(installation, tenant, feeds[n]!.seen, claims[n]!);
      const all = feeds[0]!.seen;
      for (const { name, seen } of sessions) await settle(installation, name, () => seen.length >= all.length);
      for (const session of sessions) {
        await session.stop();
        assert.deepEqual(
          session.seen.map(({ id }) => id),
          all.map(({ id }) => id),
          `${session.name} has the log, in its order`,
        );
      }
      const wanted = all.filter(({ type }) => type === userUpdated);
      const delivered = () => new Set(failing.received.map(({ headers }) => headers["webhook-id"])).size;
      await settle(installation, "webhook", () => delivered() >= wanted.length);
      const repeats = checkReceived(failing.received, wanted);
      const figures: Figures = {
        changes: done,
        events: feeds.reduce((sum, { seen }) => sum + seen.length, 0),
        lost: 0,
        stateReads: stateReads.count,
        serversKilled: killing.made.server,
        databaseKilled: killing.made.database,
        operationsGivenUp: givenUp,
        stompRepeats: sessions.map(({ repeats: count }) => count()).join(" + "),
        webhookCalls: failing.received.length,
        webhookRepeats: repeats,
      };
      return figures;
    } finally {
      await killing.done().catch(() => {});
      await Promise.allSettled(readers.map((reader) => reader.stop()));
      await installation.end();
      await failing.close();
      await cluster.stop();
    }
  },
};
