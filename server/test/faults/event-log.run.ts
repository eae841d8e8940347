import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { type FaultRun, inTurns } from "./fault-run.ts";
import { type Installation, type Reply, startInstallation } from "./installation.ts";

type Seen = { id: string; sequence: number; type: string; data: any };

/** Follows a tenant's feed as any client would, at whichever server answers; every next event must have the next number. */
function follow(installation: Installation, tenantId: string) {
  const seen: Seen[] = [];
  let cursor: string | null = null;
  let stopped = false;
  let polls = 0;
  const done = (async () => {
    for (let atEnd = false; !(stopped && atEnd); ) {
      polls++;
      const { servers } = installation;
      const server = servers[randomInt(servers.length)]!;
      const path: string = `/v1/event-log?limit=200${cursor ? `&cursor=${cursor}` : ""}`;
      const answer: Reply | null = await installation
        .call(server, "GET", path, { headers: { "demarc-tenant": tenantId, prefer: "wait=1" } })
        .catch(() => null);
      if (!answer) continue;
      assert.equal(answer.status, 200, answer.text);
      for (const event of answer.body.items) {
        assert.equal(Number(event.sequence), seen.length + 1, `${tenantId}: ${event.sequence} is not the next`);
        seen.push({ id: event.id, sequence: Number(event.sequence), type: event.type, data: event.data });
      }
      cursor = answer.body.nextCursor;
      atEnd = answer.body.atEnd && answer.body.items.length === 0;
    }
  })();
  // Its fault is told when it is waited for.
  done.catch(() => {});
  return { seen, stop: () => (stopped = true), done, polls: () => polls };
}

async function change(installation: Installation, tenantId: string, userId: string, fullname: string): Promise<void> {
  for (;;) {
    const { servers } = installation;
    const server = servers[randomInt(servers.length)]!;
    const ask = { body: { fullname }, headers: { "demarc-tenant": tenantId } };
    const answer = await installation.call(server, "PATCH", `/v1/user/${userId}`, ask).catch(() => null);
    if (answer?.status === 200) return;
    if (answer) assert.equal(answer.status, 503, answer.text);
    await new Promise((resolve) => setTimeout(resolve, randomInt(2, 20)));
  }
}

/** EV-5: a quiet log keeps its reader waiting for as long as it said; news let it go at once. */
async function waitFor({ servers, call }: Installation, seconds: number): Promise<number> {
  const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name: "Quiet", kind: "customer" } });
  const tenant = { "demarc-tenant": made.body.id as string };
  const page = (query: string, wait: number) =>
    call(servers[0]!, "GET", `/v1/event-log?${query}`, { headers: { ...tenant, prefer: `wait=${wait}` } });
  // What the making of the tenant told may come first.
  const first = await call(servers[0]!, "GET", "/v1/event-log?sort=-sequence&limit=1", { headers: tenant });
  const from = first.body.items.length > 0 ? `from=${first.body.items[0].id}` : "from=now";
  let beganAt = performance.now();
  const quiet = await page(from, seconds);
  const waitedMs = performance.now() - beganAt;
  assert.ok(waitedMs >= seconds * 1_000 - 20 && waitedMs < seconds * 1_000 + 1_000, `${waitedMs} ms`);
  assert.deepEqual([quiet.body.items, quiet.body.atEnd], [[], true]);
  assert.equal(quiet.headers["preference-applied"], `wait=${seconds}`);
  beganAt = performance.now();
  const asked = page(`cursor=${quiet.body.nextCursor}`, 30);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const person = { username: "v", fullname: "V", email: "v@x.example", defaultOrgUnitExternalId: "ROOT" };
  await call(servers[1]!, "POST", "/v1/user", { body: person, headers: tenant });
  const { body } = await asked;
  const answeredMs = Math.round(performance.now() - beganAt);
  assert.ok(body.items.length > 0 && answeredMs < 3_500, `answered after ${answeredMs} ms`);
  return answeredMs;
}

export const faultRun: FaultRun = {
  about: "EV-3. EV-5. changes through two servers, one killed midway: each tenant's events are 1 to n, once, in order",
  counts: {
    writers: { about: "writers at a time", short: 9, long: 50 },
    changes: { about: "changes of each writer", short: 12, long: 200 },
    kills: { about: "SIGKILLs, each followed by a new start", short: 1, long: 5 },
    wait: { about: "seconds of waiting on a quiet log", short: 1, long: 20 },
  },
  async run({ writers = 1, changes = 1, kills = 1, wait = 1 }, tell) {
    const installation = await startInstallation(2);
    // To the half second only in the long form, which has the machine to itself.
    const answeredMs = wait < 20 ? 0 : await waitFor(installation, wait);
    const places: { tenantId: string; userId: string }[] = [];
    for (const name of ["Alpha", "Beta", "Gamma"]) {
      const made = await installation.call(installation.servers[0]!, "POST", "/v1/tenant", {
        body: { name, kind: "customer" },
      });
      assert.equal(made.status, 201, made.text);
      const user = await installation.call(installation.servers[0]!, "POST", "/v1/user", {
        body: { username: "shared", fullname: "0", email: "shared@x.example", defaultOrgUnitExternalId: "ROOT" },
        headers: { "demarc-tenant": made.body.id },
      });
      assert.equal(user.status, 200, user.text);
      places.push({ tenantId: made.body.id, userId: user.body.id });
    }
    const readers = places.map(({ tenantId }) => follow(installation, tenantId));
    let [done, killed] = [0, 0];
    let restarting: Promise<void> = Promise.resolve();
    try {
      await inTurns(writers, writers, async (writer) => {
        const { tenantId, userId } = places[writer % places.length]!;
        for (let n = 0; n < changes; n++) {
          await change(installation, tenantId, userId, `${writer}-${n}`);
          done++;
          if (killed < kills && done >= ((killed + 0.5) * writers * changes) / kills) {
            const victim = killed++ % 2;
            restarting = restarting.then(() => installation.restart(victim));
          }
          if (done % 1_000 === 0) tell(`${done} changes, ${killed} kills`);
        }
      });
      await restarting;
      for (const reader of readers) reader.stop();
      await Promise.all(readers.map((reader) => reader.done));
      let events = 0;
      for (const [index, { tenantId, userId }] of places.entries()) {
        const { seen } = readers[index]!;
        events += seen.length;
        assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length, "an event came twice");
        const [state] = await installation.sql(
          `select (select last from kernel.log_sequence where tenant_id = $1)::int as last,
            (select count(*) from kernel.outbox)::int as waiting, (select fullname from directory."user" where id = $2)`,
          [tenantId, userId],
        );
        assert.equal(state.waiting, 0);
        assert.equal(seen.length, state.last, "the reader has all events of its tenant");
        const updates = seen.filter(({ type }) => type === "demarc.directory.user.updated");
        assert.ok(updates.length > 0);
        let name = "0";
        for (const { data } of updates) {
          assert.equal(data.previous.fullname, name, "the log follows the history of the row");
          name = data.resource.fullname;
        }
        assert.equal(name, state.fullname);
      }
      const polls = readers.reduce((sum, reader) => sum + reader.polls(), 0);
      return { events, killed, polls, answeredMs };
    } finally {
      await restarting.catch(() => {});
      for (const reader of readers) reader.stop();
      await Promise.allSettled(readers.map((reader) => reader.done));
      await installation.end();
    }
  },
};
