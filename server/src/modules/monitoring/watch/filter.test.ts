import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startWorld } from "./watch.fixture.ts";

const world = await startWorld();
const { keys, A, L, rootOf } = world;
const north = await world.folder(rootOf(A), "North", { customerReference: "C-18" });
const deep = await world.folder(north, "Deep");
const places = [
  { folderId: null, locationId: L, name: "L", path: [] as string[], reference: "C-17" },
  {
    folderId: north,
    locationId: await world.location(north, "Depot"),
    name: "Depot",
    path: ["North"],
    reference: "C-18",
  },
  {
    folderId: deep,
    locationId: await world.location(deep, "Yard"),
    name: "Yard",
    path: ["North", "Deep"],
    reference: "C-18",
  },
];

type Model = { id: string; body: any; place: (typeof places)[number]; status: string };

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null, freq: 3 });
const some = (...values: string[]) => fc.constantFrom(...values);
const bodies = fc.array(
  fc.record({
    at: fc.nat(places.length - 1),
    status: some("pending", "active", "disabled"),
    description: optional(some("50% of_all", "a\\b", "Ä line")),
    reference: optional(some("PO-1", "po-1", "PO,1")),
    customerReference: optional(some("C-17", "C-18", "own")),
    productType: optional(some("FTTC", "FTTP")),
    watchType: some("Bearer", "ADSL"),
    accessInKbps: fc.constantFrom(1_000, 2_000, 3_000),
    deviceAddress: optional(some("192.0.2.1", "2001:db8::1", "host.example")),
    interface: optional(fc.record({ match: fc.constant("ifName"), value: some("Gi0/1", "Gi0/2") })),
    dormant: fc.boolean(),
    group: optional(some("batch-1")),
  }),
  { minLength: 60, maxLength: 60 },
);

const [drawn] = fc.sample(bodies, { numRuns: 1, seed: 20_261_122 });
const models = await made(drawn!);

async function made(rows: typeof drawn & object): Promise<Model[]> {
  const items = rows.map(({ at, status: _, ...body }, index) => ({
    op: "create",
    watch: { ...body, name: `Watch-${index}`, locationId: places[at]!.locationId, accessOutKbps: 1_000 },
  }));
  const answer = await world.post("/v1/watch/bulk", { items }, { key: keys.aW });
  assert.equal(answer.status, 200, answer.text);
  const found = rows.map(({ at, status }, index) => ({
    id: answer.body.results[index].id,
    body: items[index]!.watch,
    place: places[at]!,
    status,
  }));
  for (const { id, status } of found) {
    if (status !== "pending")
      await world.sql("update monitoring.watch set status = $2, group_name = null where id = $1", [id, status]);
  }
  return found.map((model) =>
    model.status === "pending" ? model : { ...model, body: { ...model.body, group: null } },
  );
}

type Filter = { query: [string, string][]; admits(model: Model): boolean };

const same = (name: string, values: string[], read: (model: Model) => string | null): fc.Arbitrary<Filter> =>
  some(...values, "").map((value) => ({ query: [[name, value]], admits: (model) => (read(model) ?? "") === value }));
const among = (name: string, values: string[], read: (model: Model) => unknown): fc.Arbitrary<Filter> =>
  fc
    .subarray(values, { minLength: 1 })
    .map((picked) => ({ query: [[name, picked.join(",")]], admits: (model) => picked.includes(String(read(model))) }));
const effective = ({ body, place }: Model): string => body.customerReference ?? place.reference;
const texts = (model: Model) => [
  model.body.name,
  model.body.description,
  model.body.deviceAddress,
  model.body.reference,
  effective(model),
  model.body.productType,
  model.place.name,
];

const filters: Record<string, fc.Arbitrary<Filter>> = {
  name: some("watch-7", "WATCH-12", "watch", "Watch-\u212A").map((value) => ({
    query: [["name", value]],
    admits: ({ body }) => body.name.toUpperCase() === value.replace("\u212A", "?").toUpperCase(),
  })),
  reference: same("reference", ["PO-1", "PO,1", "PO_1", "%"], ({ body }) => body.reference),
  customerReference: same("customerReference", ["C-17", "C-18", "own", "none"], effective),
  productType: same("productType", ["FTTC", "fttc"], ({ body }) => body.productType),
  group: same("group", ["batch-1"], ({ body }) => body.group),
  interface: same("interface", ["Gi0/1", "Gi0/3"], ({ body }) => body.interface?.value ?? null),
  deviceAddress: some("192.0.2.1", "::ffff:192.0.2.1", "2001:DB8:0::1", "HOST.example.", "").map((value) => {
    const canonical: Record<string, string | null> = {
      "192.0.2.1": "192.0.2.1",
      "::ffff:192.0.2.1": "192.0.2.1",
      "2001:DB8:0::1": "2001:db8::1",
      "HOST.example.": "host.example",
      "": null,
    };
    return { query: [["deviceAddress", value]], admits: ({ body }) => body.deviceAddress === canonical[value] };
  }),
  watchType: among("watchType", ["Bearer", "ADSL", "Tunnel"], ({ body }) => body.watchType),
  status: among("status", ["pending", "active", "disabled"], ({ status }) => status),
  testState: among("testState", ["untested", "failed"], () => "untested"),
  accessInKbps: among("accessInKbps", ["1000", "2000", "5"], ({ body }) => body.accessInKbps),
  dormant: among("dormant", ["true"], ({ body }) => body.dormant),
  locationId: among(
    "locationId",
    places.map(({ locationId }) => locationId),
    ({ body }) => body.locationId,
  ),
  folderId: fc.constantFrom(
    { query: [["folderId", rootOf(A)]] as [string, string][], admits: () => true },
    { query: [["folderId", north]] as [string, string][], admits: ({ place }: Model) => place.folderId !== null },
    { query: [["folderId", deep]] as [string, string][], admits: ({ place }: Model) => place.folderId === deep },
  ),
  path: fc.constantFrom(["North"], ["North", "Deep"], ["Deep"], ["north"]).map((steps) => ({
    query: steps.map((step): [string, string] => ["path", step]),
    admits: ({ place }) => place.path.join("/") === steps.join("/"),
  })),
  q: some("watch-1", "%", "_all", "a\\b", "ä", "po", "c-18", "DEPOT", "fttc", "2001:", "own", "e\nw").map((needle) => ({
    query: [["q", needle]],
    admits: (model) => texts(model).some((text) => text?.toLowerCase().includes(needle.toLowerCase())),
  })),
};

const combined = fc
  .subarray(Object.keys(filters), { minLength: 1, maxLength: 3 })
  .chain((names) => fc.tuple(...names.map((name) => filters[name]!)));

test("any filters together find exactly the watches that each of them admits, with their number", async () => {
  await fc.assert(
    fc.asyncProperty(combined, async (picked) => {
      const search = new URLSearchParams(picked.flatMap(({ query }) => query));
      const { status, body, text } = await world.get(`/v1/watch?limit=200&count=true&${search}`, { key: keys.aW });
      if ([...search.values()].some((value) => value.includes("\n"))) return assert.equal(status, 400);
      assert.equal(status, 200, text);
      const expected = models.filter((model) => picked.every(({ admits }) => admits(model))).map(({ id }) => id);
      assert.deepEqual(body.items.map(({ id }: any) => id).sort(), expected.sort(), search.toString());
      assert.equal(body.total, expected.length);
    }),
    { numRuns: 150, seed: 20_261_122 },
  );
});

test("a provider, and who is homed on the folder, find the same watches by the same filters", async () => {
  const homed = await world.key(A, ["watch.write"], { within: { kind: "folder", id: north } });
  for (const search of [
    "status=active",
    "customerReference=C-18",
    "customerReference=own",
    "q=depot",
    "q=c-18",
    "reference=",
    "name=watch-7",
    "productType=FTTC",
  ]) {
    const idsOf = async (key: string) =>
      (await world.get(`/v1/watch?limit=200&${search}`, { key })).body.items.map(({ id }: any) => id).sort();
    const all = await idsOf(keys.aW);
    assert.deepEqual(await idsOf(keys.pW), all, search);
    const inside = new Set(models.filter(({ place }) => place.folderId !== null).map(({ id }) => id));
    assert.deepEqual(
      await idsOf(homed),
      all.filter((id: string) => inside.has(id)),
      search,
    );
  }
});

test("walking the pages while watches are added shows each old one once, in any order", async () => {
  let added = 0;
  await fc.assert(
    fc.asyncProperty(
      some("name", "-name", "createdAt", "-createdAt", "changedAt", "deviceAddress", "-status", "updatedAt,-name"),
      fc.integer({ min: 7, max: 40 }),
      async (sort, limit) => {
        const seen: string[] = [];
        let path: string | null = `/v1/watch?sort=${sort}&limit=${limit}`;
        while (path) {
          const { body }: { body: any } = await world.get(path, { key: keys.aW });
          seen.push(...body.items.map(({ id }: any) => id));
          path = body.nextLink;
          await world.created(
            world.full({ name: `Watch-${added % 60}.${++added}`, deviceAddress: `192.0.2.${1 + (added % 9)}` }),
          );
          world.clock.advance(7);
        }
        assert.equal(new Set(seen).size, seen.length, "none twice");
        for (const { id } of models) assert.ok(seen.includes(id), "each old one");
      },
    ),
    { numRuns: 8, seed: 20_261_122 },
  );
});
