import assert from "node:assert/strict";
import { test } from "node:test";
import { createTestDatabase } from "../database.ts";
import { firstKey } from "../set-up.ts";
import { dataDir, ended, freePort, start } from "./process.ts";

test("without the demo a start prints a link and no key; the page that it leads to makes the administrator, and no later start prints one", async () => {
  const database = await createTestDatabase();
  const settings = {
    DEMARC_PORT: String(await freePort()),
    DEMARC_DATA_DIR: dataDir(),
    DEMARC_DATABASE_URL: database.url,
    DEMARC_DEMO: "off",
  };
  const links: string[] = [];
  for (const _ of [1, 2]) {
    const server = await start(settings);
    assert.doesNotMatch(server.output(), /dmk_/);
    links.push(/http:\S+\/oauth\/setup\?token=[\w-]{43}/.exec(server.output())![0]);
    if (links.length === 2) {
      const key = await firstKey(server.output(), server.url);
      assert.equal((await fetch(`${server.url}/v1/ping`, { headers: { "x-api-key": key! } })).status, 200);
      assert.ok(!server.output().includes(key!));
    }
    await ended(server.child, "SIGTERM");
  }
  assert.notEqual(links[0], links[1]);
  const last = await start(settings);
  assert.doesNotMatch(last.output(), /token=/);
  for (const link of links) assert.equal((await fetch(link.replace("localhost", "127.0.0.1"))).status, 400);
  await ended(last.child, "SIGTERM");
  await database.drop();
});
