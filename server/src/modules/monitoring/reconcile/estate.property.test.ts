/** Random estates against the rules of matching, read out of the specification once more and as plainly as can be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planEstate } from "./plan.ts";
import { item, startEstates } from "./reconcile.fixture.ts";
import { matchKeys } from "./schema.ts";
import { openScope } from "./scope.ts";

const world = await startEstates();
const { place } = world;

const few = <T>(...values: T[]) => fc.constantFrom(...values);
const references = few("R1", "R2", "R3", "R4");
const addresses = few("192.0.2.1", "192.0.2.2", "2001:db8::1");
const interfaces = few("Gi0/0/1", "Gi0/0/2").map((value) => ({ match: "ifName", value }));
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const stated = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Partial<T>;

/** Fields of a watch that matching looks at, and one that it does not. */
const watchFields = {
  reference: optional(references),
  deviceAddress: optional(addresses),
  interface: optional(interfaces),
  accessInKbps: optional(few(80_000, 90_000)),
};
type Known = any;

/** The rules of 4.3: the hits of an item among all watches of the scope. */
function expectedHits(watch: Known, watches: Known[], matchBy: readonly string[]): Known[] | "dead" {
  for (const key of matchBy) {
    if (watch[key] === undefined || watch[key] === null) continue;
    const hits = watches.filter((one) => {
      if (key === "name" && one.name.toLowerCase() !== watch.name.toLowerCase()) return false;
      if (key !== "name" && one[key] !== watch[key]) return false;
      if (key === "name" && watch.locationId) return one.locationId === watch.locationId;
      if (key === "deviceAddress" && watch.interface)
        return one.interface?.match === watch.interface.match && one.interface?.value === watch.interface.value;
      return true;
    });
    if (hits.length > 0) return hits;
    if (key === "id" || key === "numericId") return "dead";
  }
  return [];
}

function expectedOutcomes(estate: Known[], watches: Known[], matchBy: readonly string[]) {
  const hits = estate.map((watch) => expectedHits(watch, watches, matchBy));
  const alone = hits.map((one) => (one !== "dead" && one.length === 1 ? one[0].id : null));
  const outcomes = hits.map((one, index) => {
    if (one === "dead") return ["missing", "id_not_found"];
    if (one.length === 0) return ["missing", null];
    if (one.length > 1) return ["ambiguous", null];
    if (alone.filter((id) => id === alone[index]).length > 1) return ["ambiguous", "same_watch"];
    const watch = estate[index];
    const differs = Object.keys(watch).some((field) => {
      if (field === "id" || field === "numericId") return false;
      if (field === "name") return one[0].name.toLowerCase() !== watch.name.toLowerCase();
      return JSON.stringify(one[0][field] ?? null) !== JSON.stringify(watch[field]);
    });
    return [differs ? "different" : "same", null];
  });
  const hit = new Set(hits.flatMap((one) => (one === "dead" ? [] : one.map(({ id }) => id))));
  const onlyHere = watches.map(({ id }) => id).filter((id) => !hit.has(id));
  return { outcomes, onlyHere };
}

test("each item of a random estate comes out as the rules say, and so does what is only here", async () => {
  const { folderId, locationId, reconcile, bearer } = await place();
  const second = await world.location(folderId, "Second");
  const made: Known[] = [];
  const shapes = fc.sample(fc.record(watchFields), { numRuns: 14, seed: 7 });
  for (const [n, shape] of shapes.entries())
    made.push(await world.created(bearer(`w-${n % 9}`, { ...stated(shape), locationId: n < 9 ? locationId : second })));
  const anyItem = fc.record({
    ...watchFields,
    id: fc.option(few(...made.map(({ id }) => id), "wch_01jd8w6r7qf0ztb5c2m9x4k3en"), { nil: undefined, freq: 1 }),
    numericId: fc.option(few(...made.map(({ numericId }) => numericId)), { nil: undefined, freq: 1 }),
    name: optional(few("w-1", "W-1", "w-5", "w-12")),
    locationId: optional(few(locationId, second)),
    description: fc.option(few(null, "text"), { nil: undefined, freq: 1 }),
  });
  const estates = fc.array(anyItem.map(stated), { maxLength: 12 });
  const orders = fc.shuffledSubarray([...matchKeys], { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(estates, orders, async (estate, matchBy) => {
      const answer = await reconcile(
        estate.map((watch, n) => item(`${n}`, watch)),
        { matchBy },
      );
      const expected = expectedOutcomes(estate, made, matchBy);
      assert.deepEqual(
        answer.body.items.map(({ outcome, reason }: any) => [outcome, reason]),
        expected.outcomes,
      );
      assert.deepEqual(answer.body.onlyHere.map(({ id }: any) => id).sort(), expected.onlyHere.sort());
    }),
    { numRuns: 60 },
  );
});

test("whatever an estate brings about, the same request again finds every applied item the same and changes nothing", async () => {
  const anyItem = fc
    .record({
      ...watchFields,
      name: optional(few("n-1", "n-2", "n-3", "n-4", "n-5", "n-6", "n-7")),
      where: optional(few(0, 0, 1, 1, 2)),
      isWhole: few(true, true, false),
    })
    .filter(({ name, where, isWhole }) => !isWhole || (name !== undefined && where !== undefined));
  const runs = fc.record({
    here: fc.array(fc.record(watchFields), { maxLength: 5 }),
    estate: fc.array(anyItem, { minLength: 1, maxLength: 8 }),
    matchBy: fc.shuffledSubarray([...matchKeys], { minLength: 1 }),
  });
  let applied = 0;
  await fc.assert(
    fc.asyncProperty(runs, async ({ here, estate, matchBy }) => {
      const { folderId, locationId, reconcile, bearer } = await place();
      const outside = await world.location(world.rootOf(world.A), `outside ${folderId}`);
      const locations = [locationId, await world.location(folderId, "Second"), outside];
      for (const [n, shape] of here.entries())
        await world.created(bearer(`n-${n}`, { ...stated(shape), locationId: locations[n % 2] }));
      const items = estate.map(({ where, isWhole, ...rest }, n) => {
        const whole = isWhole ? { watchType: "Bearer", accessOutKbps: 5, accessInKbps: 5 } : {};
        const site = where === undefined ? {} : { locationId: locations[where] };
        return item(`${n}`, { ...whole, ...stated(rest), ...site });
      });
      const request = { matchBy, apply: { create: true, update: true } };
      const first = await reconcile(items, request);
      const events = await world.eventCount();
      const again = await reconcile(items, request);
      for (const [n, { applied: done }] of first.body.items.entries()) {
        if (done !== "created" && done !== "updated") continue;
        applied++;
        assert.equal(
          again.body.items[n].outcome,
          "same",
          JSON.stringify({ items, first: first.body, again: again.body }),
        );
      }
      if (again.body.summary.created + again.body.summary.updated === 0) assert.equal(await world.eventCount(), events);
    }),
    { numRuns: 25 },
  );
  assert.ok(applied > 0, "the estates had too little to apply");
});

test("the number of statements does not grow with the items of a thousand", async () => {
  const { folderId, locationId } = await place();
  async function statementsFor(count: number): Promise<number> {
    let statements = 0;
    await world.as(world.A, async (ctx) => {
      const counted =
        <A extends unknown[], R>(work: (...given: A) => R) =>
        (...given: A) => {
          statements++;
          return work(...given);
        };
      const db = {
        rows: counted(ctx.db.rows),
        first: counted(ctx.db.first),
        run: counted(ctx.db.run),
      } as typeof ctx.db;
      const own = { ...ctx, db };
      const items = Array.from({ length: count }, (_, n) =>
        item(`${n}`, {
          reference: `R-${n}`,
          deviceAddress: `10.0.${n >> 8}.${n & 255}`,
          name: `s-${n}`,
          ...(n % 2 ? { locationId } : { place: { path: [`x-${n}`], location: "L" } }),
        }),
      );
      const estate = { scope: { folderId }, items };
      await planEstate(own, await openScope(own, estate), estate);
    });
    return statements;
  }
  const few = await statementsFor(2);
  assert.ok(few <= 8, `${few} statements`);
  assert.equal(await statementsFor(1_000), few);
});

test("many items that hit the same many watches are told so without a list for each", async () => {
  const { folderId, locationId } = await place();
  await world.sql(
    `insert into monitoring.watch (tenant_id, id, numeric_id, name, location_id, reference, watch_type, access_in_kbps, access_out_kbps,
        polling_minutes, site_link, dormant, created_at, created_by, updated_at, updated_by, changed_at)
      select $1, 'wch_' || lpad(n::text, 26, '0'), 2000000000 + n, 'many-' || n, $2, 'N/A', 'Bearer', 1, 1, 3, false, false, now(), 'test', now(), 'test', now()
      from generate_series(1, 3000) n`,
    [world.A, locationId],
  );
  const items = Array.from({ length: 3_000 }, (_, n) => item(`${n}`, { reference: "N/A" }));
  const estate = { scope: { folderId }, items };
  const { rows, hitIds } = await world.as(world.A, async (ctx) =>
    planEstate(ctx, await openScope(ctx, estate), estate),
  );
  assert.equal(hitIds.size, 3_000);
  assert.ok(rows.every(({ outcome, candidateIds }) => outcome === "ambiguous" && candidateIds.length === 10));
});
