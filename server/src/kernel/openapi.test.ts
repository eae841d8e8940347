/** The rules of OpenAPI documents (notifications, part F), read from the documents as they are served. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { startServer } from "../../test/harness.ts";
import { routeTable } from "./http.ts";

const server = await startServer();
const closed = await startServer({
  settings: { docsAccess: "signed-in", passwordGrant: false },
  betaEnabled: false,
  beside: server,
});
const services = server.kernel.modules.map(({ name }) => name);
const read = async (label: string, service: string) =>
  JSON.parse((await server.get(`/${label}/openapi/${service}.json`)).text);
const all: [label: string, service: string, document: any][] = await Promise.all(
  ["v1", "latest", "beta"].flatMap((label) =>
    services.map(async (service) => [label, service, await read(label, service)] as [string, string, any]),
  ),
);
const operationsOf = (document: any): [path: string, method: string, operation: any][] =>
  Object.entries<any>(document.paths).flatMap(([path, item]) =>
    Object.entries<any>(item).map(([method, operation]) => [path, method, operation] as [string, string, any]),
  );

test("documents name this server, and paths carry the label that they were asked for by", () => {
  for (const [label, service, document] of all) {
    assert.equal(document.openapi, "3.1.0");
    assert.deepEqual(
      document.servers.map(({ url }: { url: string }) => url),
      ["/"],
      service,
    );
    assert.equal(document.info.version, label);
    for (const path of Object.keys(document.paths)) assert.ok(path.startsWith(`/${label}/`), path);
  }
});

test("every operation has summary, description, a verbNoun id of its own, permission, events, and a refusal for each step of the door", () => {
  for (const label of ["v1", "latest", "beta"]) {
    const ids = new Set<string>();
    for (const [, , document] of all.filter(([its]) => its === label)) {
      for (const [path, method, operation] of operationsOf(document)) {
        const { operationId, summary, description, security } = operation;
        const what = `${method} ${path}`;
        assert.match(operationId, /^[a-z]+[A-Za-z]*$/, what);
        assert.ok(!ids.has(operationId), operationId);
        ids.add(operationId);
        assert.ok(summary.length > 3 && description.length > 3, what);
        const permission = operation["x-permission"];
        assert.match(permission, /^(?:open|any|[a-z-]+\.[a-z-]+)$/i, what);
        assert.equal(security?.length === 0, permission === "open", what);
        assert.ok(Array.isArray(operation["x-emits"]), what);
        const always =
          permission === "open" ? [400, 404, 410, 429, 500, 503] : [400, 401, 403, 404, 410, 429, 500, 503];
        for (const status of always) assert.ok(operation.responses[status]?.content, `${what}: ${status}`);
        if (operation.requestBody) for (const status of [413, 415]) assert.ok(operation.responses[status], what);
        for (const response of Object.values<any>(operation.responses)) assert.ok(response.description, what);
      }
    }
  }
});

test("every status, permission and event that a route declares stands in its document", () => {
  for (const { route, service } of routeTable(server.kernel)) {
    const [, , document] = all.find(([label, its]) => label === "v1" && its === service)!;
    const operation = document.paths[`/v1${route.path}`][route.method.toLowerCase()];
    const statuses = [...Object.keys(route.replies as object), ...(route.problems ?? []).map(({ status }) => status)];
    for (const status of statuses) assert.ok(operation.responses[status], `${route.id}: ${status}`);
    for (const { code, status } of route.problems ?? [])
      assert.ok(operation.responses[status]["x-codes"].includes(code), `${route.id}: ${code}`);
    assert.equal(operation["x-permission"], route.permission, route.id);
    const emits = "emits" in route && Array.isArray(route.emits) ? route.emits.map(({ type }) => type) : [];
    assert.deepEqual(operation["x-emits"], emits, route.id);
  }
});

test("every body that is asked for and every JSON reply has an example; that of a body can be sent as it is", () => {
  let count = 0;
  for (const [label, service, document] of all) {
    if (label !== "v1") continue;
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    (addFormats as unknown as (target: Ajv2020) => void)(ajv);
    ajv.addSchema(document, service);
    const escaped = (part: string) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
    const hold = (place: string[], media: any) => {
      const validate = ajv.getSchema(`${service}#/${[...place, "schema"].map(escaped).join("/")}`)!;
      assert.ok(validate(media.example), `${place.join(" ")}: ${ajv.errorsText(validate.errors)}`);
      count++;
    };
    for (const [path, method, { requestBody, responses }] of operationsOf(document)) {
      const json = "application/json";
      const place = ["paths", path, method];
      if (requestBody) hold([...place, "requestBody", "content", json], requestBody.content[json]);
      for (const [status, { content }] of Object.entries<any>(responses))
        if (content?.[json]) assert.ok("example" in content[json], `${path} ${status}`);
    }
  }
  assert.ok(count > 40, `${count}`);
});

test("every document has the four ways to authenticate, any one of which suffices", async () => {
  for (const [, , { security, components }] of all) {
    assert.deepEqual(security, [{ xApiKey: [] }, { oauth2: [] }, { bearer: [] }, { authorizationHeader: [] }]);
    const { xApiKey, oauth2, bearer, authorizationHeader } = components.securitySchemes;
    assert.deepEqual([xApiKey.type, xApiKey.in, xApiKey.name], ["apiKey", "header", "x-api-key"]);
    assert.deepEqual([bearer.type, bearer.scheme], ["http", "bearer"]);
    const { type, name, description } = authorizationHeader;
    assert.deepEqual([type, authorizationHeader.in, name], ["apiKey", "header", "Authorization"]);
    assert.match(description, /Bearer <token>/);
    assert.deepEqual(Object.keys(oauth2.flows), ["clientCredentials", "authorizationCode", "password"]);
    assert.equal(oauth2.flows.clientCredentials.tokenUrl, "/oauth/token");
    assert.ok("user.read" in oauth2.flows.clientCredentials.scopes);
  }
  const key = await server.key(server.rootId, []);
  const without = JSON.parse((await closed.get("/v1/openapi/access.json", { key })).text);
  assert.ok(!("password" in without.components.securitySchemes.oauth2.flows));
});

test("where documents are not open to all, they say so of themselves; those of beta are there where the label is", async () => {
  const key = await server.key(server.rootId, []);
  const { paths } = JSON.parse((await closed.get("/v1/openapi/notifications.json", { key })).text);
  for (const path of ["/v1/openapi/{service}.json", "/v1/asyncapi/notifications.json"]) {
    const { responses, security } = paths[path].get;
    assert.equal(security, undefined, "the document's own");
    assert.ok(responses[401].headers["WWW-Authenticate"] && responses[303].headers.Location);
  }
  const open = all.find(([label, service]) => label === "v1" && service === "notifications")![2];
  const { responses } = open.paths["/v1/openapi/{service}.json"].get;
  assert.ok(!(401 in responses) && !(303 in responses));
  for (const file of ["openapi/access", "asyncapi/notifications"]) {
    const { status, body } = await closed.get(`/beta/${file}.json`, { key });
    assert.deepEqual([status, body.code], [404, "version_unknown"]);
  }
});
