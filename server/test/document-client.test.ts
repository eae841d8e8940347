/**
 * DO-3: a client that knows nothing but the documents makes up its calls from them, sensible and senseless ones, and no
 * reply has a status, a header or a body that the documents lack.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { documentChecker, type Published } from "./check-document.ts";
import { startServer } from "./harness.ts";

const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "Reader");
const owner = await server.key(tenant, "tenant_administrator");
const nobody = await server.key(tenant, []);
const readOnly = await server.key(tenant, "tenant_administrator", { readOnly: true });

type Schema = Record<string, any>;
type Parameter = { name: string; in: string; required?: boolean; schema: Schema; explode?: boolean };
type Stated = { method: string; path: string; parameters: Parameter[]; body: Schema | null; document: Schema };

const documents: Record<string, Published> = {};
for (const { label, documents: addresses } of (await server.get("/v1/version")).body.items)
  if (label === "v1")
    for (const address of addresses)
      if (address.includes("/openapi/")) documents[address] = JSON.parse((await server.get(address)).text);
const check = documentChecker(documents);

/** Those that would end the client's own key, or never answer. */
const left = new Set(["deleteOwnKey", "openEventStream"]);
const stated: Stated[] = Object.values(documents).flatMap((document) =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Schema>)
      .filter(([, operation]) => !left.has(operation.operationId) && path !== "/v1/key/self")
      .map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        body: operation.requestBody?.content["application/json"]?.schema ?? null,
        document,
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
const ofTenant = fc.constantFrom(tenant, tenant, tenant, tenant, "nowhere");
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
        { weight: 1, arbitrary: fc.json({ maxDepth: 3 }) },
        { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
      )
    : fc.constant(undefined);
  return fc
    .record({
      holes: fc.tuple(...holes.map(() => inPath)),
      query: fc.oneof(
        { weight: 3, arbitrary: fc.constant({}) },
        { weight: 1, arbitrary: fc.record(queries, { requiredKeys: [] }) },
      ),
      stray: fc.option(fc.constant("stray=1"), { freq: 8 }),
      headers: fc.record(
        Object.fromEntries(named("header").map(({ name }) => [name, name === "Demarc-Tenant" ? ofTenant : inHeader])),
        { requiredKeys: [] },
      ),
      body,
    })
    .map(({ holes: values, query, stray, headers, body }) => {
      const path = holes.reduce((text, hole, index) => text.replace(hole, () => values[index]!), operation.path);
      const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
      const search = [...pairs, ...(stray ? [stray] : [])].join("&");
      return { path: search ? `${path}?${search}` : path, headers: headers as Record<string, string>, body };
    });
}

test("DO-3. calls made up from the documents get no status, header or body that the documents lack", async () => {
  const seen = new Map<number, number>();
  const credential = fc.constantFrom(owner, owner, owner, readOnly, nobody, undefined, "wrong");
  const lists = stated.filter(({ method, path }) => method === "GET" && !path.includes("{"));
  const call = fc
    .oneof(fc.constantFrom(...stated), fc.constantFrom(...lists))
    .chain((operation) => fc.record({ operation: fc.constant(operation), call: callsOf(operation), key: credential }));
  await fc.assert(
    fc.asyncProperty(call, async ({ operation, call: { path, headers, body }, key }) => {
      const ask = { key, headers, ...(body === undefined ? {} : { raw: body }) };
      const answer = await server.call(operation.method, path, ask);
      seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
      // An address whose end is made up may be another operation's: the checker finds whose it is.
      check(operation.method, path, answer);
    }),
    { numRuns: 400, seed: 4, endOnFailure: true },
  );
  for (const status of [200, 400, 401, 403, 404]) assert.ok((seen.get(status) ?? 0) > 5, `${status}: ${[...seen]}`);
});
