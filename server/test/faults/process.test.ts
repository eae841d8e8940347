import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { firstKey } from "../set-up.ts";
import { databasePid, dataDir, endAll, ended, freePort, launch, readDemo, start, until } from "./process.ts";

after(endAll);
const ask = (url: string, key: string, init: RequestInit = {}) =>
  fetch(url, { ...init, headers: { "x-api-key": key, "content-type": "application/json", ...init.headers } });

test("a bad configuration ends the start with exit code 1, all faults listed at once", async () => {
  const { exited, output } = launch({
    DEMARC_PORT: "99999",
    DEMARC_DEMO: "maybe",
    DEMARC_COLOUR: "red",
    DEMARC_PUBLIC_URL: "http://api.example",
  });
  assert.equal(await exited, 1);
  for (const name of ["DEMARC_PORT", "DEMARC_DEMO", "DEMARC_COLOUR", "DEMARC_PUBLIC_URL"])
    assert.match(output(), new RegExp(name));
});

test("a database that is not there, and a production without a master key, end the start with one clear line", async () => {
  const gone = launch({
    DEMARC_PORT: String(await freePort()),
    DEMARC_DATA_DIR: dataDir(),
    DEMARC_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
  });
  assert.equal(await gone.exited, 1);
  assert.match(gone.output(), /database/i);
  assert.doesNotMatch(gone.output(), /\n\s+at /);
  const production = launch({
    DEMARC_PORT: String(await freePort()),
    DEMARC_DATA_DIR: dataDir(),
    DEMARC_ENV: "production",
  });
  assert.equal(await production.exited, 1);
  assert.match(production.output(), /DEMARC_MASTER_KEY_FILE/);
});

test("a first start that is killed midway is made anew by the next one, whole", async () => {
  const folder = dataDir();
  const settings = { DEMARC_PORT: String(await freePort()), DEMARC_DATA_DIR: folder };
  const first = launch(settings);
  await until(() => first.output().includes("database migrated") || existsSync(join(folder, "demo.json")), first);
  await ended(first.child, "SIGKILL");
  const second = await start(settings);
  const demo = readDemo(folder);
  assert.equal(statSync(join(folder, "demo.json")).mode & 0o777, 0o600);
  const key = demo.keys[0]!.key;
  const { total } = (await (await ask(`${second.url}/v1/watch?count=true&limit=1`, key)).json()) as { total: number };
  assert.equal(total, 360);
  for (const { key: each } of demo.keys) assert.equal((await ask(`${second.url}/v1/principal/self`, each)).status, 200);
  const { clientId, clientSecret } = demo.clients[0]!;
  const token = await fetch(`${second.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${clientId}:${clientSecret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  assert.equal(token.status, 200);

  const other = launch({ ...settings, DEMARC_PORT: String(await freePort()) });
  assert.equal(await other.exited, 1, "two servers on one data directory");
  assert.match(other.output(), new RegExp(`${folder}`));
  const sameport = launch({ ...settings, DEMARC_DATA_DIR: dataDir(), DEMARC_DEMO: "off" });
  assert.equal(await sameport.exited, 1, "the port is taken");
  assert.match(sameport.output(), /port is taken/);

  await ended(second.child, "SIGTERM");
  const third = await start(settings);
  assert.doesNotMatch(third.output(), /dmk_/, "a key is shown once");
  assert.equal((await ask(`${third.url}/v1/ping`, key)).status, 200);
  await ended(third.child, "SIGTERM");
});

test("nothing acknowledged is lost when server and database are killed among 200 parallel creates", async () => {
  const folder = dataDir();
  const settings = { DEMARC_PORT: String(await freePort()), DEMARC_DATA_DIR: folder, DEMARC_DEMO: "off" };
  const first = await start(settings);
  const key = (await firstKey(first.output(), first.url))!;
  const made = async (method: string, path: string, body: object) => {
    const answer = await ask(`${first.url}${path}`, key, { method, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    return (await answer.json()) as { id: string };
  };
  const lanes = { api: { ratePerSecond: 10_000, burst: 100_000, perDay: null } };
  const plans = (await (await ask(`${first.url}/v1/plan`, key)).json()) as { items: { id: string }[] };
  await made("PATCH", `/v1/plan/${plans.items[0]!.id}`, { lanes });
  const { tenant } = (await (await ask(`${first.url}/v1/principal/self`, key)).json()) as { tenant: { id: string } };
  const location = await made("POST", "/v1/location", { name: "Here", folderId: `fld${tenant.id.slice(3)}` });
  const acknowledged: string[] = [];
  let killed = false;
  const creates = Array.from({ length: 200 }, async (_, index) => {
    const body = {
      name: `crash-${index}`,
      locationId: location.id,
      watchType: "Bearer",
      accessInKbps: 1,
      accessOutKbps: 1,
    };
    try {
      const answer = await ask(`${first.url}/v1/watch`, key, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "idempotency-key": `crash-${index}` },
      });
      const made = (await answer.json()) as { id: string };
      if (answer.status === 201) acknowledged.push(made.id);
      if (acknowledged.length === 60 && !killed) {
        killed = true;
        process.kill(databasePid(folder), "SIGKILL");
        first.child.kill("SIGKILL");
      }
    } catch {
      // not acknowledged: the connection ended first
    }
  });
  await Promise.all(creates);
  await ended(first.child, "SIGKILL");
  assert.ok(
    acknowledged.length >= 60 && acknowledged.length < 200,
    `the kill came among them (${acknowledged.length})`,
  );
  const second = await start(settings);
  for (const id of acknowledged) assert.equal((await ask(`${second.url}/v1/watch/${id}`, key)).status, 200, id);
  const replies = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const body = {
        name: `crash-${index}`,
        locationId: location.id,
        watchType: "Bearer",
        accessInKbps: 1,
        accessOutKbps: 1,
      };
      return ask(`${second.url}/v1/watch`, key, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "idempotency-key": `crash-${index}` },
      });
    }),
  );
  assert.ok(
    replies.every(({ status }) => status === 201),
    "every call can be repeated, none has a second effect",
  );
  const { total } = (await (await ask(`${second.url}/v1/watch?limit=1&count=true&q=crash-`, key)).json()) as {
    total: number;
  };
  assert.equal(total, 200);
});

test("while the database is gone calls are 503 with Retry-After, and go on by themselves when it is back", async () => {
  const folder = dataDir();
  const settings = { DEMARC_PORT: String(await freePort()), DEMARC_DATA_DIR: folder, DEMARC_DEMO: "off" };
  const server = await start(settings);
  const key = (await firstKey(server.output(), server.url))!;
  assert.equal((await ask(`${server.url}/v1/watch?limit=1`, key)).status, 200);
  const pid = databasePid(folder);
  process.kill(pid, "SIGSTOP");
  process.kill(pid, "SIGKILL");
  let away: Response | undefined;
  await until(async () => {
    const answer = await ask(`${server.url}/v1/watch?limit=1`, key);
    if (answer.status === 503) away = answer;
    return away !== undefined || (answer.status === 200 && databasePid(folder) !== pid);
  }, server);
  if (away) {
    assert.equal(away.headers.get("retry-after"), "5");
    assert.equal(((await away.json()) as { code: string }).code, "unavailable");
  }
  await until(async () => (await ask(`${server.url}/v1/watch?limit=1`, key)).status === 200, server);
  await until(async () => (await fetch(`${server.url}/readyz`)).status === 200, server);
});
