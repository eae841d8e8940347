/**
 * DO-3: a client that knows nothing but the documents makes up its calls from them, sensible and senseless ones, and no
 * reply has a status, a header or a body that the documents lack: every operation of every service under every label,
 * with ids and tags that earlier replies gave.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { documentChecker, type Published } from "./check-document.ts";
import { type Answer, startServer } from "./harness.ts";
import { sawEvent } from "./wire.ts";

const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "Reader", { beta: true });
const owner = await server.key(tenant, "tenant_administrator");
const nobody = await server.key(tenant, []);
const readOnly = await server.key(tenant, "tenant_administrator", { readOnly: true });

type Schema = Record<string, any>;
type Parameter = { name: string; in: string; required?: boolean; schema: Schema; explode?: boolean };
type Stated = {
  id: string;
  method: string;
  path: string;
  parameters: Parameter[];
  body: Schema | null;
  document: Schema;
  example: unknown;
};

const documents: Record<string, Published> = {};
const labels = ["v1", "latest", "beta"];
for (const { label, documents: addresses } of (await server.get("/v1/version")).body.items)
  for (const address of addresses)
    if (label === "v1" && address.includes("/openapi/"))
      documents[address] = JSON.parse((await server.get(address)).text);
const check = documentChecker(documents);

/** Those that would end the client's own key. */
const left = new Set(["deleteOwnKey"]);
const stated: Stated[] = Object.values(documents).flatMap((document) =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Schema>)
      .filter(([, operation]) => !left.has(operation.operationId))
      .map(([method, operation]) => ({
        id: operation.operationId,
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        body: operation.requestBody?.content["application/json"]?.schema ?? null,
        document,
        example: operation.requestBody?.content["application/json"]?.example,
      })),
  ),
);

/** Values that a schema admits, for the better part. */
function valuesOf(document: Schema, node: Schema, depth = 0): fc.Arbitrary<unknown> {
  if (node.$ref) return valuesOf(document, document.components.schemas[node.$ref.split("/").pop()!], depth);
  if ("const" in node) return fc.constant(node.const);
  if (node.enum) return fc.constantFrom(...node.enum);
  const choice = node.anyOf ?? node.oneOf;
  if (choice) return fc.oneof(...choice.map((one: Schema) => valuesOf(document, one, depth + 1)));
  const types: string[] = [node.type ?? "object"].flat();
  if (types.length > 1) return fc.oneof(...types.map((type) => valuesOf(document, { ...node, type }, depth)));
  const [type] = types;
  if (type === "null" || depth > 6) return fc.constant(null);
  if (type === "boolean") return fc.boolean();
  if (type === "number") return fc.double({ min: node.minimum, max: node.maximum, noNaN: true });
  if (type === "integer")
    return fc.integer({ min: node.minimum ?? -1, max: Math.max(node.minimum ?? -1, node.maximum ?? 100_000) });
  if (type === "array")
    return fc.array(valuesOf(document, node.items ?? {}, depth + 1), { minLength: node.minItems, maxLength: 3 });
  if (type === "string")
    return fc.oneof(
      fc.constantFrom("x", "Name", "2026-03-01T10:00:00.123Z", ...(node.examples ?? [])),
      fc.string({ maxLength: 12 }),
    );
  const members = Object.entries<Schema>(node.properties ?? {}).map(([name, child]) => [
    name,
    valuesOf(document, child, depth + 1),
  ]);
  return fc.record(Object.fromEntries(members), {
    requiredKeys: (node.required ?? []).filter((name: string) => name in (node.properties ?? {})),
  });
}

const inHeader = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.="*, '), maxLength: 12 });
const inMatch = fc.nat().map((index) => [...tags].at(-1 - (index % tags.size))!);
const ofTenant = fc.nat(15).map((one) => (one === 7 ? "nowhere" : tenant));
/** Ids and tags of what replies have shown, by the path that they came from; what is our own is left alone. */
const shown = new Map<string, Set<string>>();
const tags = new Set<string>(['"none"']);
function remember(path: string, { status, headers, body }: Answer): void {
  const [, , noun = ""] = path.split(/[/?]/);
  const ids = (Array.isArray(body?.items) ? body.items : [body]).map((one: { id?: unknown } | null) => one?.id);
  const known = shown.get(noun) ?? new Set();
  for (const id of ids) if (typeof id === "string" && status < 300 && !own.has(id)) known.add(id);
  shown.set(noun, known);
  const tag = headers.get("etag");
  if (tag) tags.add(tag);
}
const own = new Set<string>([tenant, server.rootId]);
for (const key of [owner, nobody, readOnly]) own.add((await server.get("/v1/key/self", { key })).body.id);

const inPath = fc.oneof(
  fc.constantFrom("nothing", "usr_01jd8w6r7qf0ztb5c2m9x4k3en", "me", "ROOT", "%00", "..%2f", tenant),
  fc.string({ minLength: 1, maxLength: 12 }).map((text) => encodeURIComponent(text.replaceAll(/^\.+$/g, "x"))),
);

function callsOf(operation: Stated): fc.Arbitrary<{ path: string; headers: Record<string, string>; body?: string }> {
  const named = (place: string) => operation.parameters.filter((parameter) => parameter.in === place);
  const queries = Object.fromEntries(
    named("query").map(({ name, schema }) => [
      name,
      valuesOf(operation.document, schema).map((value) => [value].flat().join(",")),
    ]),
  );
  const holes = operation.path.match(/\{\w+\}/g) ?? [];
  const body = operation.body
    ? fc.oneof(
        { weight: 4, arbitrary: valuesOf(operation.document, operation.body).map((value) => JSON.stringify(value)) },
        { weight: 6, arbitrary: fc.constant(JSON.stringify(operation.example)) },
        { weight: 1, arbitrary: fc.json({ maxDepth: 3 }) },
        { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
      )
    : fc.constant(undefined);
  return fc
    .record({
      holes: fc.tuple(...holes.map(() => inPath)),
      known: fc.nat(),
      query: fc.oneof(
        { weight: 3, arbitrary: fc.constant({}) },
        { weight: 1, arbitrary: fc.record(queries, { requiredKeys: [] }) },
      ),
      stray: fc.nat(15).map((one) => one === 7),
      headers: fc.record(
        Object.fromEntries(
          named("header").map(({ name }) => [
            name,
            name === "Demarc-Tenant" ? ofTenant : name.startsWith("If-") ? fc.oneof(inMatch, inHeader) : inHeader,
          ]),
        ),
        { requiredKeys: [] },
      ),
      body,
    })
    .map(({ holes: values, known, query, stray, headers, body }) => {
      const ids = [...(shown.get(operation.path.split("/")[2]!) ?? [])];
      // Two times of three something that is there, of what was shown last.
      const value = (index: number) =>
        ids.length > 0 && known % 3 > 0 ? ids.at(-1 - (known % ids.length))! : values[index]!;
      const path = holes.reduce((text, hole, index) => text.replace(hole, () => value(index)), operation.path);
      // A stream that nobody ends would never answer.
      const ends = operation.id === "openEventStream" ? { until: "2000-01-01T00:00:00Z" } : {};
      const pairs = Object.entries({ ...query, ...ends }).map(
        ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
      );
      const search = [...pairs, ...(stray ? ["stray=1"] : [])].join("&");
      return { path: search ? `${path}?${search}` : path, headers: headers as Record<string, string>, body };
    });
}

test("DO-3. the documents of the other labels are v1's but for the label", async () => {
  for (const [address, document] of Object.entries(documents)) {
    const paths = JSON.stringify(document.paths);
    for (const label of labels) {
      const { text } = await server.get(address.replace("/v1/", `/${label}/`));
      assert.equal(JSON.stringify(JSON.parse(text).paths).replaceAll(`"/${label}/`, '"/v1/'), paths, address);
    }
  }
});

test("DO-3. calls made up from the documents get no status, header or body that the documents lack", async () => {
  const seen = new Map<number, number>();
  const called = new Set<string>();
  const credential = fc.constantFrom(owner, owner, owner, owner, owner, readOnly, nobody, undefined, "wrong");
  const call = (operation: Stated) =>
    fc.record({
      operation: fc.constant(operation),
      call: callsOf(operation),
      key: credential,
      label: fc.constantFrom(...labels),
    });
  // What makes something goes first, so that the others find it.
  const inOrder = stated.toSorted((a, b) => Number(b.method === "POST") - Number(a.method === "POST"));
  for (const [index, one] of inOrder.entries()) {
    await fc.assert(
      fc.asyncProperty(call(one), async ({ operation, call: { path, headers, body }, key, label }) => {
        const ask = { key, headers, ...(body === undefined ? {} : { raw: body }) };
        const answer = await server.call(operation.method, path.replace("/v1/", `/${label}/`), ask);
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
        // An address whose end is made up may be another operation's: the checker finds whose it is.
        called.add(check(operation.method, path, answer));
        remember(path, answer);
      }),
      { numRuns: 3, seed: index, endOnFailure: true },
    );
  }
  for (const status of [200, 400, 401, 403, 404]) assert.ok((seen.get(status) ?? 0) > 5, `${status}: ${[...seen]}`);
  assert.ok(
    [...seen.keys()].some((status) => [409, 412].includes(status)),
    `${[...seen]}`,
  );
  const ids = new Set(stated.map(({ id }) => id));
  assert.deepEqual(
    [...ids].filter((id) => !called.has(id)),
    [],
    "operations that were never called",
  );
});

test("DO-3. a body that its document gives as an example is understood: it is refused for what is there, not for its form", async () => {
  const misread: unknown[] = [];
  for (const { method, path, body, example, id } of stated) {
    if (!body) continue;
    const address = path.replaceAll(/\{\w+\}/g, "nothing");
    const answer = await server.call(method, address, { key: owner, body: example });
    check(method, address, answer);
    const formal = (answer.body?.errors ?? []).filter(({ rule }: { rule: string }) => formalRules.has(rule));
    if (formal.length > 0) misread.push([id, formal]);
  }
  assert.deepEqual(misread, []);
});
const formalRules = new Set(["type", "required", "additionalProperties", "pattern", "minLength", "json"]);

test("DO-3. the event stream has the status, the headers and the media type of its document, and events of AsyncAPI", async () => {
  server.clock.advance(3_600_000);
  const until = server.clock.now().toISOString();
  const answer = await server.get(`/v1/event-stream?from=start&until=${until}&types=demarc.access.*`, { key: owner });
  check("GET", "/v1/event-stream", answer);
  const events = [...answer.text.matchAll(/^id: (.*)\nevent: (.*)\ndata: (.*)$/gm)];
  for (const [, id, event, data] of events) sawEvent(data!, { stream: { id: id!, event: event! } });
  assert.ok(events.length > 0, answer.text);
});
