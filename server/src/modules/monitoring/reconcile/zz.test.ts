import { test } from "node:test";
import { planEstate } from "./plan.ts";
import { item, startEstates } from "./reconcile.fixture.ts";
import { openScope } from "./scope.ts";
const world = await startEstates();
test("bench", async () => {
  const { folderId, locationId, reconcile, bearer } = await world.place();
  const N = 50_000;
  await world.sql(`insert into monitoring.watch (tenant_id, id, numeric_id, name, location_id, watch_type, access_in_kbps, access_out_kbps, polling_minutes,
        site_link, dormant, created_at, created_by, updated_at, updated_by, changed_at, reference, device_address)
      select $1, 'wch_' || lpad(n::text, 26, '0'), 2000000000 + n, 'only-' || n, $2, 'Bearer', 1, 1, 3, false, false, now(), 'test', now(), 'test', now(), 'R-'||n, '10.0.' || (n/250) || '.' || (n%250+1)
      from generate_series(1, $3) n`, [world.A, locationId, N]);
  await world.sql("analyze monitoring.watch");
  for (const [who, tenant] of [["customer", world.A], ["provider", world.P]] as const)
  for (const scoped of [true, false])
  for (const count of [1, 1000, 20000]) {
    const items = Array.from({ length: count }, (_, n) => item(`${n}`, { id: undefined, numericId: 2000000001 + n, reference: `R-${n}`, deviceAddress: `10.0.${Math.floor(n / 250)}.${(n % 250) + 1}`, name: `only-${n}`, accessInKbps: 1 }));
    for (const one of items) delete (one.watch as any).id;
    const estate = { ...(scoped ? { scope: { folderId } } : {}), items };
    await world.as(tenant, async (ctx) => {
      let db = 0;
      const timed = (f: any) => async (...a: any[]) => { const t = performance.now(); try { return await f(...a); } finally { db += performance.now() - t; } };
      const own = { ...ctx, db: { rows: timed(ctx.db.rows), first: timed(ctx.db.first), run: timed(ctx.db.run) } as never };
      const t = performance.now();
      const plan = await planEstate(own, await openScope(own, estate as never), estate as never);
      console.log(who, scoped, count, "ms", Math.round(performance.now() - t), "db", Math.round(db), plan.hitIds.size);
    });
  }
  let t = performance.now();
  let a = await reconcile([item("1", { name: "none" })]);
  console.log("1 item, 50k only here", Math.round(performance.now() - t), a.body.summary.onlyHere);
  t = performance.now();
  a = await reconcile(Array.from({ length: 1000 }, (_, n) => item(`${n}`, bearer(`new-${n}`))), { apply: { create: true } });
  console.log("1000 creates", Math.round(performance.now() - t), a.body.summary.created);
  t = performance.now();
  a = await reconcile(Array.from({ length: 1000 }, (_, n) => item(`${n}`, bearer(`new-${n}`, { dormant: true }))), { apply: { update: true } });
  console.log("1000 updates", Math.round(performance.now() - t), a.body.summary.updated);
  t = performance.now();
  const b = await reconcile(Array.from({ length: 1001 }, (_, n) => item(`${n}`, bearer(`op-${n}`))), { apply: { create: true } }, undefined, { prefer: "wait=30" });
  console.log("1001 creates op", Math.round(performance.now() - t), b.body.summary);
});
