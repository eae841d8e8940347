import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { renderFrame, share } from "./frame.ts";
import { createOutbox } from "./outbox.ts";

const message = (headers: readonly (readonly [string, string])[], body: Buffer) =>
  renderFrame({ kind: "frame", command: "MESSAGE", headers, rest: share([], body) }, "1.2");

/** Server sides of TCP connections, with the clients that read them. */
async function pairs(t: TestContext, count: number): Promise<{ near: Socket; far: Socket }[]> {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const made: { near: Socket; far: Socket }[] = [];
  for (let n = 0; n < count; n++) {
    const far = connect(port, "127.0.0.1");
    const [near] = (await once(server, "connection")) as [Socket];
    far.pause();
    made.push({ near, far });
  }
  t.after(() => {
    for (const { near, far } of made) {
      near.destroy();
      far.destroy();
    }
    server.close();
  });
  return made;
}

async function readAll(far: Socket, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let got = 0; got < length; ) {
    const part = far.read() as Buffer | null;
    if (part === null) await once(far, "readable");
    else {
      parts.push(part);
      got += part.length;
    }
  }
  return Buffer.concat(parts);
}

test("what a slow socket has not taken stays as it was written, however much others write meanwhile", async (t) => {
  const [slow, quick] = await pairs(t, 2);
  const boxes = [createOutbox(false), createOutbox(false)];
  const written: Buffer[][] = [[], []];
  const put = (index: number, letter: string, bytes: number) => {
    const frame = message([["letter", letter]], Buffer.alloc(bytes, letter));
    boxes[index]!.add(frame, true);
    boxes[index]!.send([slow!, quick!][index]!.near, () => {});
    written[index]!.push(Buffer.concat([Buffer.from(frame.own), frame.shared!]));
  };
  // More than the system holds for a socket that nobody reads.
  let n = 0;
  for (; slow!.near.writableLength === 0; n++) put(0, "abcdefgh"[n % 8]!, 60_000);
  for (let more = 0; more < 20; more++) {
    put(0, "ABCDEFGH"[more % 8]!, 30_000 + more);
    put(1, "z", 1_000);
  }
  put(0, "L", 400_000);
  for (const [index, { far }] of [slow!, quick!].entries()) {
    const expected = Buffer.concat(written[index]!);
    assert.ok((await readAll(far, expected.length)).equals(expected), `socket ${index}`);
  }
});

test("every frame is a WebSocket message of its own, whatever its length, as text or binary", async (t) => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  t.after(() => server.close());
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`);
  t.after(() => client.terminate());
  const heard: { length: number; isBinary: boolean }[] = [];
  client.on("message", (data: Buffer, isBinary) => heard.push({ length: data.length, isBinary }));
  const [, request] = (await once(server, "connection")) as [WebSocket, { socket: Socket }];
  const outbox = createOutbox(true);
  const lengths = [1, 125, 126, 127, 65_535, 65_536, 300_000];
  for (const length of lengths)
    for (const asText of [true, false]) outbox.add({ own: "x".repeat(length), shared: null }, asText);
  outbox.send(request.socket, () => {});
  assert.equal(outbox.bytes(), 0);
  while (heard.length < lengths.length * 2) await once(client, "message");
  assert.deepEqual(
    heard,
    lengths.flatMap((length) => [
      { length, isBinary: false },
      { length, isBinary: true },
    ]),
  );
});
