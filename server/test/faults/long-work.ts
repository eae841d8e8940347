/** Work that outlasts its request, at servers that are killed: estates that are applied, each as an operation. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import type { Installation } from "./installation.ts";

export const watchesEach = 20;
export type Place = { tenantId: string; locationId: string };

/** A location for the watches of a tenant. */
export async function placeOf({ servers, call }: Installation, tenantId: string): Promise<Place> {
  const body = { name: "Here", folderId: `fld${tenantId.slice(3)}` };
  const made = await call(servers[0]!, "POST", "/v1/location", { body, headers: { "demarc-tenant": tenantId } });
  assert.equal(made.status, 201, made.text);
  return { tenantId, locationId: made.body.id };
}

/** Starts work that creates watches named after it, at whichever server takes it; however often it is asked, once. */
export async function startWork(installation: Installation, { tenantId, locationId }: Place, name: string) {
  const watch = (n: number) => ({
    key: `${n}`,
    watch: { name: `${name}-${n}`, locationId, watchType: "Bearer", accessInKbps: 1, accessOutKbps: 1 },
  });
  const items = Array.from({ length: watchesEach }, (_, n) => watch(n));
  const ask = {
    body: { matchBy: ["name"], apply: { create: true }, items },
    headers: { "demarc-tenant": tenantId, prefer: "respond-async", "idempotency-key": name },
  };
  for (;;) {
    const server = installation.servers[randomInt(installation.servers.length)]!;
    const answer = await installation.call(server, "POST", "/v1/watch/reconcile", ask).catch(() => null);
    if (answer?.status === 202) return answer.body.id as string;
    // 409: the first try of this call is still under way somewhere.
    if (answer) assert.ok([409, 503].includes(answer.status), answer.text);
    await new Promise((resolve) => setTimeout(resolve, randomInt(5, 50)));
  }
}

/**
 * Lets the minute pass that dead servers' leases still have, and the pauses before further attempts. Who lives renews an
 * operation's lease every second, and has an answer to a delivery within one.
 */
export async function passTime(installation: Installation): Promise<void> {
  for (const change of [
    "update kernel.operation set lease_until = now() where status = 'running' and lease_until < now() + interval '56 seconds'",
    "update kernel.delivery set lease_until = now() where lease_until < now() + interval '54 seconds'",
    "update kernel.delivery set next_attempt_at = now() where status = 'retrying' and lease_until is null",
    "update kernel.delivery_target set due_at = now(), paused_until = '-infinity' where due_at > now() or paused_until > now()",
  ])
    await installation.sql(change).catch(() => {});
}

/** Waits until `isDone`, while time passes for what dead servers have left behind. */
export async function settle(
  installation: Installation,
  what: string,
  isDone: () => Promise<boolean> | boolean,
): Promise<void> {
  const limitMs = performance.now() + 180_000;
  while (!(await isDone())) {
    assert.ok(performance.now() < limitMs, `${what}: not within three minutes`);
    await passTime(installation);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** All work has ended; what succeeded has its watches once, and each end is told once. Returns how many were given up. */
export async function checkWork(installation: Installation, work: ReadonlyMap<string, string>): Promise<number> {
  const ids = [...work.values()];
  const open = "select count(*)::int as n from kernel.operation where id = any($1) and finished_at is null";
  const waiting = "select count(*)::int as n from kernel.outbox";
  await settle(installation, "operations", async () => {
    const [left] = await installation.sql(open, [ids]).catch(() => [null]);
    const [news] = await installation.sql(waiting).catch(() => [null]);
    return left?.n === 0 && news?.n === 0;
  });
  const ends = await installation.sql(
    `select o.id, o.status, o.error->>'code' as code, count(e.id)::int as told from kernel.operation o
     left join kernel.event e on e.subject = o.id and e.type = 'demarc.notifications.operation.' || o.status
     where o.id = any($1) group by o.id, o.status, o.error`,
    [ids],
  );
  assert.equal(ends.length, work.size, "every accepted operation is there");
  const made = await installation.sql(
    "select regexp_replace(name, '-\\d+$', '') as work, count(*)::int as n, count(distinct name)::int as names from monitoring.watch group by 1",
  );
  const watches = new Map(made.map((row) => [row.work, row]));
  let givenUp = 0;
  for (const [name, id] of work) {
    const end = ends.find((one) => one.id === id)!;
    assert.equal(end.told, 1, `${id}: its end is told once`);
    const { n = 0, names = 0 } = watches.get(name) ?? {};
    assert.equal(n, names, `${name}: nothing is there twice`);
    if (end.status === "succeeded") assert.equal(n, watchesEach, `${name}: its results are there`);
    else {
      assert.deepEqual([end.status, end.code], ["failed", "interrupted"]);
      givenUp++;
    }
  }
  return givenUp;
}
