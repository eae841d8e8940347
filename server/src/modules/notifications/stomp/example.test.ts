import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { makeClient } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

const server = await startServer({ modules: [...modules, planted] });
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const writer = await server.key(tenant, ["export.run"]);
const program = fileURLToPath(new URL("../../../../../examples/stompjs-receiver.mjs", import.meta.url));

test("RC-3. the example program, stopped and started again around 100 changes, prints all 100", async () => {
  assert.ok(readFileSync(program, "utf8").trimEnd().split("\n").length <= 60);
  const { id, secret } = await makeClient(server, tenant, ["notification.subscribe", "export.run"]);
  const cursorFile = join(server.dataDir, "cursor.txt");
  let printed = "";
  const start = (): ChildProcess => {
    const child = spawn(process.execPath, [program], {
      env: {
        DEMARC_URL: server.url,
        DEMARC_TOKEN_URL: `${server.url}/oauth/token`,
        DEMARC_CLIENT_ID: id,
        DEMARC_CLIENT_SECRET: secret,
        CURSOR_FILE: cursorFile,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.stdout!.on("data", (text) => {
      printed += text;
    });
    return child;
  };
  const stop = async (child: ChildProcess) => {
    child.kill("SIGKILL");
    await eventually(() => child.exitCode !== null || child.signalCode !== null);
  };
  const subjects: string[] = [];
  const make = async (count: number) => {
    for (let n = 0; n < count; n++)
      subjects.push((await server.post("/v1/thing", { name: `n ${n}` }, { key: writer })).body.id);
  };
  let child = start();
  await eventually(() => existsSync(cursorFile));
  await make(40);
  await stop(child);
  await make(20);
  child = start();
  await make(40);
  await eventually(() => subjects.every((subject) => printed.includes(subject)));
  await stop(child);
  assert.equal(subjects.length, 100);
});
