import assert from "node:assert/strict";
import { test } from "node:test";
import { readCredential } from "./credential.ts";
import { Stop } from "./faults.ts";
import { type Given, readOptions } from "./options.ts";

const given: Given = {
  url: "https://api.example.net",
  version: "v1",
  destination: "/topic/event",
  transport: "stomp",
  format: "json",
};
const isUsage = (error: unknown) => error instanceof Stop && error.exitCode === 2;

test("what cannot be is refused before anything is connected", () => {
  const wrong: Partial<Given>[] = [
    { url: "api.example.net" },
    { url: "ftp://api.example.net" },
    { url: "https://name:secret@api.example.net" },
    { durable: "billing", cursorFile: "place" },
    { durable: "billing", transport: "stream" },
    { durable: "billing", destination: "/user/queue/operation" },
    { destination: "/queue/work", cursorFile: "place" },
    { destination: "/queue/work", durable: "billing" },
    { destination: "/queue/work", transport: "poll" },
    { destination: "/queue/work", from: "start" },
    { destination: "/user/queue/session" },
    { destination: "/user/queue/operation", transport: "stream" },
    { destination: "/topic/event/directory", types: "demarc.access.*", transport: "poll" },
    { secret: `whsec_${"A".repeat(40)}` },
    { secret: "secret", forward: "http://localhost:9000" },
    { forward: "localhost" },
    { giveUp: "5" },
    ...["0", "-1", "soon"].map((giveUp) => ({ giveUp, forward: "http://localhost:9000" })),
    ...["0", "1.5", "many"].map((count) => ({ count })),
  ];
  for (const one of wrong) assert.throws(() => readOptions({ ...given, ...one }), isUsage, JSON.stringify(one));
});

test("a destination narrows feed and stream as it does over STOMP", () => {
  const filterOf = (more: Partial<Given>) => readOptions({ ...given, transport: "poll", ...more }).filter;
  for (const [destination, filter] of [
    ["/topic/event", { version: "v1", types: null, subject: null }],
    ["/topic/v2/event", { version: "v2", types: null, subject: null }],
    ["/topic/event/directory", { version: "v1", types: "demarc.directory.*", subject: null }],
    ["/topic/event/directory.user", { version: "v1", types: "demarc.directory.user.*", subject: null }],
    ["/topic/v1/event/directory.user/usr_1", { version: "v1", types: "demarc.directory.user.*", subject: "usr_1" }],
  ] as const)
    assert.deepEqual(filterOf({ destination }), filter);
  assert.deepEqual(filterOf({ types: "demarc.access.*" }), { version: "v1", types: "demarc.access.*", subject: null });
  for (const destination of ["/topic/other", "/topic/event/", "/topic/event/a.b.c", "/topic/event/directory.user/a/b"])
    assert.throws(() => filterOf({ destination }), isUsage, destination);
});

test("the place is a file unless the server keeps it, and the first run starts now unless it is told otherwise", () => {
  const { keeps, from, url } = readOptions({ ...given, url: "https://api.example.net/demarc/" });
  assert.deepEqual(
    [keeps, from, url],
    [{ in: "file", file: ".demarc-cursor" }, "now", "https://api.example.net/demarc"],
  );
  assert.deepEqual(readOptions({ ...given, durable: "billing" }).keeps, { in: "durable", name: "billing" });
  const queue = readOptions({ ...given, destination: "/queue/work" });
  assert.deepEqual([queue.keeps, queue.from], [{ in: "queue" }, null]);
});

test("exactly one credential is taken from the environment, and its secret is not shown when there are two", () => {
  const [id, secret] = ["cli_1", "dms_secret"];
  for (const env of [
    {},
    { DEMARC_CLIENT_ID: id },
    { DEMARC_CLIENT_SECRET: secret },
    { DEMARC_CLIENT_ID: id, DEMARC_CLIENT_SECRET: secret, DEMARC_API_KEY: secret },
    { DEMARC_API_KEY: secret, DEMARC_TOKEN: secret },
    { DEMARC_CLIENT_ID: id, DEMARC_CLIENT_SECRET: secret, DEMARC_TOKEN_URL: "nowhere" },
  ])
    assert.throws(
      () => readCredential(env, given.url),
      (error: Error) => isUsage(error) && !error.message.includes(secret),
    );
});

test("a key and a token travel in the headers that the server reads", async () => {
  const stop = new AbortController().signal;
  assert.deepEqual(await readCredential({ DEMARC_API_KEY: "k" }, given.url)(stop), { "x-api-key": "k" });
  assert.deepEqual(await readCredential({ DEMARC_TOKEN: "t" }, given.url)(stop), { authorization: "Bearer t" });
});
