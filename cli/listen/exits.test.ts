import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { modules } from "../../server/src/app.ts";
import { eventually, startServer } from "../../server/test/harness.ts";
import { emptyFolder, endListeners, startListener } from "../../server/test/listener.ts";
import { planted } from "../../server/test/planted.ts";
import { type Received, signedHeaders, startReceiver } from "../../server/test/receiver.ts";
import { makeClient } from "../../server/test/tokens.ts";

const server = await startServer({ modules: [...modules, planted] });
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, ["notification.subscribe", "export.run", "webhook.manage", "webhook.read"]);
after(endListeners);

const makeThing = async (): Promise<string> =>
  (await server.post("/v1/thing", { name: "thing" }, { key })).body.id as string;
const listen = (args: string[], cwd = emptyFolder(), env: Record<string, string> = { DEMARC_API_KEY: key }) =>
  startListener(["--types", "demarc.export.*", ...args], { cwd, env: { DEMARC_URL: server.url, ...env } });
const headCursor = async (): Promise<string> =>
  (await server.get("/v1/event-log?from=now", { key })).body.nextCursor as string;
const transports = ["stomp", "stream", "poll"];
const subjectsAt = (received: Received[]): string[] => received.map(({ body }) => JSON.parse(body).subject);

test("exit 0: a signal lets the event at hand be finished, and begins none", async () => {
  const answers: ServerResponse[] = [];
  const receiver = await startReceiver((_, response) => void answers.push(response));
  const [first, second] = [await makeThing(), await makeThing()];
  const folder = emptyFolder();
  const listener = listen(["--from", "start", "--forward", receiver.url], folder);
  await eventually(() => answers.length === 1);
  listener.child.kill("SIGTERM");
  await eventually(() => listener.said().includes("Ending"));
  receiver.answer = (_, response) => void response.writeHead(204).end();
  answers[0]!.writeHead(204).end();
  assert.equal(await listener.exited, 0);
  assert.deepEqual(subjectsAt(receiver.received), [first]);
  const again = listen(["--forward", receiver.url, "--count", "1"], folder);
  assert.equal(await again.exited, 0, again.said());
  assert.deepEqual(subjectsAt(receiver.received), [first, second]);
});

test("exit 0: whoever reads the lines may stop reading, as head does, and what was not read comes again", async () => {
  const folder = emptyFolder();
  const from = await headCursor();
  const unread = await makeThing();
  const listener = listen(["--from", from], folder);
  listener.child.stdout.destroy();
  assert.equal(await listener.exited, 0);
  const again = listen(["--count", "1"], folder);
  assert.equal(await again.exited, 0);
  assert.deepEqual(
    again.events().map(({ subject }) => subject),
    [unread],
  );
});

test("exit 2: an unknown option, a secret as an option, no credential, the cursor of another tenant", async () => {
  const other = await server.tenant(server.rootId, "customer", "Theirs");
  const theirs = await server.key(other, ["notification.subscribe"]);
  const foreign = (await server.get("/v1/event-log", { key: theirs })).body.nextCursor as string;
  const asked = [
    { listener: listen(["--token", "x"]), says: /unknown option '--token'/ },
    { listener: listen([], emptyFolder(), {}), says: /DEMARC_API_KEY/ },
    ...transports.map((transport) => {
      const folder = emptyFolder();
      writeFileSync(join(folder, ".demarc-cursor"), foreign);
      return { listener: listen(["--transport", transport], folder), says: /cursor_unknown/ };
    }),
  ];
  for (const { listener, says } of asked) {
    assert.equal(await listener.exited, 2);
    assert.match(listener.said(), says);
  }
});

test("exit 2: the second of two receivers on one cursor file; killed, the first leaves it to the next", async () => {
  const folder = emptyFolder();
  const first = listen([], folder);
  await eventually(() => existsSync(join(folder, ".demarc-cursor")));
  const second = listen(["--transport", "poll", "--cursor-file", join(folder, ".demarc-cursor")], emptyFolder());
  assert.equal(await second.exited, 2);
  assert.match(second.said(), /Another receiver/);
  await first.end("SIGKILL");
  const third = listen(["--count", "1"], folder);
  await eventually(() => third.said().includes("Listening"));
  await makeThing();
  assert.equal(await third.exited, 0);
});

test("RC-2. exit 3: a wrong secret, and a key that is none, are refused three times", async () => {
  const { id } = await makeClient(server, tenant, ["notification.subscribe"]);
  const listeners = [
    listen([], emptyFolder(), { DEMARC_CLIENT_ID: id, DEMARC_CLIENT_SECRET: "dms_wrong" }),
    ...transports.map((transport) =>
      listen(["--transport", transport], emptyFolder(), { DEMARC_API_KEY: "dmk_wrong" }),
    ),
  ];
  for (const listener of listeners) {
    assert.equal(await listener.exited, 3);
    assert.match(listener.said(), /^.*Again in 1\.\d s\.\n.*Again in 2\.\d s\.\nThe credential was refused 3 times/);
  }
});

test("exit 4: a destination that is not there or not allowed, a tenant out of reach, a version that is not", async () => {
  const mute = await server.key(tenant, ["export.run"]);
  const listeners = [
    listen(["--destination", "/topic/event/nothing"]),
    listen(["--tenant", server.rootId, "--transport", "stream"]),
    listen(["--version", "v9"]),
    ...transports.map((transport) => listen(["--transport", transport], emptyFolder(), { DEMARC_API_KEY: mute })),
  ];
  for (const listener of listeners) assert.equal(await listener.exited, 4, listener.said());
});

test("RC-2. exit 5: a cursor older than the log, and the cursor that it names goes on", async () => {
  const folder = emptyFolder();
  const first = listen(["--from", "start", "--count", "1"], folder);
  assert.equal(await first.exited, 0);
  const cursor = readFileSync(join(folder, ".demarc-cursor"), "utf8");
  const subject = await makeThing();
  await eventually(async () => {
    const set = "update kernel.log_state set oldest_position = e.position from kernel.event e where e.subject = $1";
    return (await server.sql(`${set} returning 1`, [subject])).length === 1;
  });
  await Promise.all(
    transports.map(async (transport) => {
      writeFileSync(join(folder, transport), cursor);
      const expired = listen(["--transport", transport, "--cursor-file", transport], folder);
      assert.equal(await expired.exited, 5);
      assert.equal(readFileSync(join(folder, transport), "utf8"), cursor);
      const named = /--from ([\w-]+)$/m.exec(expired.said())![1]!;
      const next = listen(["--transport", transport, "--from", named, "--count", "1"]);
      assert.equal(await next.exited, 0, next.said());
    }),
  );
  await server.sql("update kernel.log_state set oldest_position = 1");
});

test("exit 6: gave up forwarding after the minutes that it was given, and kept no place beyond", async () => {
  const receiver = await startReceiver((_, response) => void response.writeHead(500).end());
  const folder = emptyFolder();
  const listener = listen(["--from", "start", "--forward", receiver.url, "--give-up", "0.03"], folder);
  assert.equal(await listener.exited, 6);
  assert.ok(receiver.received.length > 0);
  receiver.answer = (_, response) => void response.writeHead(200).end();
  const again = listen(["--forward", receiver.url, "--count", "1"], folder);
  assert.equal(await again.exited, 0);
  assert.equal(receiver.received.at(-1)!.headers["webhook-id"], receiver.received[0]!.headers["webhook-id"]);
});

test("RC-2. while the local receiver answers 500 no event is skipped or reordered, and it is waited for longer each time", async () => {
  const from = await headCursor();
  const wanted = [await makeThing(), await makeThing(), await makeThing()];
  let failures = 2;
  const receiver = await startReceiver((_, response) => void response.writeHead(failures-- > 0 ? 500 : 204).end());
  const listener = listen(["--from", from, "--forward", receiver.url, "--count", "3"]);
  assert.equal(await listener.exited, 0, listener.said());
  assert.deepEqual(subjectsAt(receiver.received), [wanted[0], wanted[0], ...wanted]);
  assert.match(listener.said(), /status 500\). Again in 1 s\.\n.*status 500\). Again in 2 s\./);
  assert.deepEqual(
    receiver.received.map(({ headers }) => headers["demarc-attempt"]),
    ["1", "2", "3", "1", "1"],
  );
});

test("what is forwarded is what a webhook sends, octet for octet, and an independent verifier accepts it", async () => {
  const [hook, local] = [await startReceiver(), await startReceiver()];
  const made = await server.post("/v1/webhook", { url: hook.url, types: ["demarc.export.*"] }, { key });
  assert.equal(made.status, 201, made.text);
  const folder = emptyFolder();
  const { secret } = made.body;
  const listeners = [
    listen(["--forward", local.url, "--count", "1", "--secret", secret], folder),
    listen(["--forward", local.url, "--count", "1", "--transport", "stream", "--cursor-file", "s"], folder),
    listen(["--forward", local.url, "--count", "1", "--transport", "poll", "--cursor-file", "p"], folder),
  ];
  await eventually(() => [".demarc-cursor", "s", "p"].every((file) => existsSync(join(folder, file))));
  await makeThing();
  for (const listener of listeners) assert.equal(await listener.exited, 0, listener.said());
  await eventually(() => hook.received.length === 1);
  const secrets = [secret, ...listeners.flatMap((listener) => listener.said().match(/whsec_\S+/g) ?? [])];
  assert.equal(secrets.length, 3);
  const [sent] = hook.received;
  for (const got of local.received) {
    assert.equal(got.body, sent!.body);
    for (const name of ["webhook-id", "content-type", "demarc-attempt"])
      assert.equal(got.headers[name], sent!.headers[name]);
    const verified = secrets.filter((one) => {
      try {
        return new Webhook(one).verify(got.body, signedHeaders(got));
      } catch {
        return false;
      }
    });
    assert.equal(verified.length, 1);
  }
  assert.equal(local.received.length, 3);
});
