/** Every check must still bite: each gets a copy of the repository with one planted fault, and must name it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checks } from "./checks.ts";

const root = new URL("..", import.meta.url).pathname;
const copy = mkdtempSync(join(tmpdir(), "demarc-checks-"));
after(() => rmSync(copy, { recursive: true, force: true }));
for (const name of [
  "server",
  "cli",
  "sdk",
  "scripts",
  "bench",
  "openapi",
  "asyncapi",
  "docs",
  "package.json",
  "tsconfig.json",
  "biome.json",
  "knip.json",
  "redocly.yaml",
  ".redocly.lint-ignore.yaml",
  ".spectral.yaml",
  ".gitignore",
]) {
  cpSync(join(root, name), join(copy, name), { recursive: true });
}
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));

function outputOf(name: string): Promise<{ code: number | null; output: string }> {
  return outputOfCommand(checks.find((check) => check.name === name)!.command);
}

async function outputOfCommand([program, ...args]: string[]): Promise<{ code: number | null; output: string }> {
  // What is compiled of the copy goes with it: nobody else would ever read it.
  const child = spawn(program!, args, {
    cwd: copy,
    env: { ...process.env, NODE_COMPILE_CACHE: join(copy, "compiled") },
  });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

/** Changes a file of the copy; returns what puts it back. */
function edit(name: string, change: (text: string) => string): () => void {
  const [path, before] = [join(copy, name), readFileSync(join(root, name), "utf8")];
  const after = change(before);
  assert.notEqual(after, before, name);
  writeFileSync(path, after);
  return () => writeFileSync(path, before);
}

async function bites(name: string, says: RegExp): Promise<void> {
  const { code, output } = await outputOf(name);
  assert.notEqual(code, 0, `${name} passed`);
  assert.match(output, says);
}

/** What the type check says of all that it must refuse: one run for all faults, as each takes a processor for 20 s. */
const refusedTypes = (async () => {
  const planted = join(copy, "server/src/kernel/planted-types.ts");
  writeFileSync(
    planted,
    `import { Type } from "typebox";
import { route } from "./contract.ts";
const about = { path: "/x", versions: "v1+", id: "x", summary: "x", permission: "any", replies: { 200: Type.Object({ a: Type.String() }) } } as const;
export const noEmits = route({ ...about, method: "POST", run: () => ({ a: "" }) });
export const wrongReply = route({ ...about, method: "GET", run: () => ({ a: 1 }) });
`,
  );
  const undo = [
    edit("server/src/modules/monitoring/location/routes.ts", (text) => text.replace(/\n *emits: \[[^\]]*\],/, "")),
    edit("server/src/modules/directory/events.ts", (text) => text.replace(", resource: User", "")),
  ];
  const { code, output } = await outputOf("types");
  for (const back of undo) back();
  rmSync(planted);
  assert.notEqual(code, 0);
  return output;
})();

test("the type check refuses a route without emits, and a body that is not what the schema says", async () => {
  const output = await refusedTypes;
  assert.match(output, /planted-types\.ts\(4,/);
  assert.match(output, /planted-types\.ts\(5,/);
});

test("EV-9. one emits declaration less, or one schema of an event, fails a check", async () => {
  const output = await refusedTypes;
  assert.match(output, /location\/routes\.ts/);
  assert.match(output, /directory\/events\.ts/);
  const locations = "server/src/modules/monitoring/location/routes.ts";
  const one = edit(locations, (text) => text.replace(/emits: \[(\w+)[^\]]*\]/, "emits: []"));
  await bites("generated files", /docs\/routes\.md is out of date/);
  one();
});

test("VE-5. a removed operation, a required parameter, another default and a lost open access fail by rule and pointer", async () => {
  const routes = "server/src/modules/monitoring/location/routes.ts";
  const query = "{ ...LocationQuery, properties: { ...LocationQuery.properties, planted: { type: 'string' },";
  const undo = [
    edit(routes, (text) =>
      text
        .replace(/versions: "v1\+",\n *id: "getLocation"/, 'versions: "v2+",\n    id: "getLocation"')
        .replace(
          "query: LocationQuery",
          `query: ${query} limit: { type: "integer", default: 7 } }, required: ["planted"] }`,
        ),
    ),
    edit("server/src/modules/notifications/version/routes.ts", (text) =>
      text.replace('permission: "open"', 'permission: "any"'),
    ),
  ];
  const { code, output } = await outputOf("generated files");
  assert.equal(code, 1);
  for (const line of [
    "monitoring.json: verb-removed at /paths/~1v1~1location~1{id}/get:",
    "monitoring.json: parameter-required at /paths/~1v1~1location/get/parameters/",
    "/schema/default: another default",
    "notifications.json: permission-required at /paths/~1v1~1version/get/x-permission:",
  ])
    assert.ok(output.includes(line), `${line}\n${output}`);
  for (const back of undo) back();
});

test("VE-5. a new optional property, path and type of event pass once the file is updated", async () => {
  const undo = [
    edit("server/src/modules/monitoring/location/schema.ts", (text) =>
      text.replace(/export const NewLocation = object\(\s*\{/, "$& planted: Type.Optional(Type.String()),"),
    ),
    edit("server/src/modules/notifications/version/routes.ts", (text) =>
      text.replace(
        "export const versionRoutes = [",
        `$& route({ method: "GET", path: "/openapi-planted", versions: "v1+", id: "listPlanted", summary: "Planted",
          permission: "any", replies: { 200: VersionList }, run: () => ({ items: [] }) }),`,
      ),
    ),
    edit("server/src/modules/directory/events.ts", (text) =>
      text.replace(
        /export const userUpdated = /,
        'export const planted = event("directory", "user.planted", { permission: "user.read", summary: "Planted.", resource: User });\n$&',
      ),
    ),
  ];
  const { code, output } = await outputOf("generated files");
  assert.equal(code, 1);
  assert.match(output, /monitoring\.json is out of date[\s\S]*notifications\.json is out of date/);
  assert.doesNotMatch(output, /breaks/);
  const generate = [process.execPath, "scripts/generate.ts"];
  assert.equal((await outputOfCommand(generate)).code, 0);
  assert.equal((await outputOf("generated files")).code, 0);
  for (const back of undo) back();
  await outputOfCommand(generate);
});

test("the files of a frozen version are not overwritten by what breaks it, unless that is announced by name", async () => {
  const undo = [
    edit("server/src/kernel/versions.ts", (text) =>
      text.replace('label: "v1", releasedAt', 'label: "v1", frozen: true, releasedAt'),
    ),
    edit("server/src/modules/monitoring/location/routes.ts", (text) =>
      text.replace('id: "getLocation"', 'id: "readLocation"'),
    ),
  ];
  const generate = [process.execPath, "scripts/generate.ts"];
  const file = join(copy, "openapi/v1/monitoring.json");
  const before = readFileSync(file, "utf8");
  const difference = "operation-id-changed at /paths/~1v1~1location~1{id}/get/operationId";
  const refused = await outputOfCommand(generate);
  assert.equal(refused.code, 1);
  assert.ok(
    refused.output.includes(`breaks a frozen version: openapi/v1/monitoring.json: ${difference}`),
    refused.output,
  );
  assert.equal(readFileSync(file, "utf8"), before);
  assert.equal((await outputOfCommand([...generate, `--announced=${difference}`])).code, 0);
  assert.match(readFileSync(file, "utf8"), /readLocation/);
  for (const back of undo) back();
  writeFileSync(file, before);
  await outputOfCommand(generate);
});

test("the boundary check refuses a kernel that knows a module, a module that reaches into another, a schema that imports server code, a command that does, an SDK with a package, and a STOMP that knows more than itself", async () => {
  writeFileSync(join(copy, "server/src/kernel/planted-kernel.ts"), 'import "../modules/directory/index.ts";\n');
  writeFileSync(join(copy, "server/src/modules/monitoring/planted-reach.ts"), 'import "../directory/tables.ts";\n');
  const undo = [
    edit("server/src/modules/monitoring/folder/schema.ts", (text) => `${text}import "../../../kernel/db.ts";\n`),
    edit("cli/audit-verify.ts", (text) => `${text}import "../server/src/kernel/json.ts";\n`),
    edit("sdk/verify-webhook.ts", (text) => `${text}import "ws";\nimport "../cli/canonical-json.ts";\n`),
  ];
  writeFileSync(join(copy, "server/src/stomp/planted-stomp.ts"), 'import "node:net";\nimport "../app.ts";\n');
  const { code, output } = await outputOf("boundaries");
  assert.notEqual(code, 0);
  const rules = [
    "kernel-knows-no-module",
    "module-only-by-its-index",
    "schema-imports-no-server-code",
    "cli-knows-no-server",
    "sdk-stands-alone.*ws/",
    "sdk-stands-alone.*cli/",
    "stomp-knows-no-module",
    "stomp-but-its-socket-is-pure.* net",
  ];
  for (const rule of rules) assert.match(output, new RegExp(rule));
  for (const back of undo) back();
  rmSync(join(copy, "server/src/stomp/planted-stomp.ts"));
  rmSync(join(copy, "server/src/kernel/planted-kernel.ts"));
  rmSync(join(copy, "server/src/modules/monitoring/planted-reach.ts"));
});

test("the dead-code check names an export that nobody uses", async () => {
  appendFileSync(join(copy, "server/src/kernel/ids.ts"), "export const plantedDeadCode = 1;\n");
  await bites("dead code", /plantedDeadCode/);
});

test("the format and lint check names an unused import and a badly formatted line", async () => {
  writeFileSync(join(copy, "scripts/planted.ts"), 'import { join } from "node:path"\nexport const  planted = 1\n');
  await bites("format and lint", /planted\.ts/);
});

test("the check of generated files names a file that does not match the code", async () => {
  appendFileSync(join(copy, "docs/errors.md"), "edited by hand\n");
  await bites("generated files", /docs\/errors\.md is out of date/);
});

test("both OpenAPI linters refuse an operation whose path parameter is not declared", async () => {
  writeFileSync(
    join(copy, "openapi/v1/planted.json"),
    JSON.stringify({
      openapi: "3.1.0",
      info: { title: "x", version: "v1" },
      servers: [{ url: "/" }],
      paths: { "/v1/x/{id}": { get: { operationId: "x", summary: "x", responses: { 200: { description: "x" } } } } },
    }),
  );
  await bites("OpenAPI by redocly", /planted\.json/);
  await bites("OpenAPI by spectral", /planted\.json/);
});

test("the AsyncAPI check refuses an operation of a channel that is not there", async () => {
  const undo = edit("asyncapi/v1/notifications.json", (text) =>
    text.replace('"$ref": "#/channels/events"', '"$ref": "#/channels/planted"'),
  );
  await bites("AsyncAPI", /operations\/sendEvents/);
  undo();
});
