import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { probeTcp } from "./tcp.ts";

const never = new AbortController().signal;

test("a listening port is open, and the probe closes without having sent a byte", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const arrived = once(server, "connection");
  const outcome = await probeTcp("127.0.0.1", port, never);
  const [socket] = (await arrived) as [Socket];
  let received = 0;
  socket.on("data", (bytes) => {
    received += bytes.length;
  });
  await once(socket, "end");
  socket.destroy();
  assert.deepEqual(outcome, { port, outcome: "open" });
  assert.equal(received, 0);
});

test("a port where nothing listens is refused", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  assert.deepEqual(await probeTcp("127.0.0.1", port, never), { port, outcome: "refused" });
});

/** A port whose queue of connections is full, so that the system answers no further one. */
async function openDeafPort(t: TestContext): Promise<number> {
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, "message")) as [number];
  const filling = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  t.after(async () => {
    for (const socket of filling) socket.destroy();
    await worker.terminate();
  });
  return port;
}

test("a port that does not answer is a timeout", async (t) => {
  const port = await openDeafPort(t);
  const outcome = await probeTcp("127.0.0.1", port, never, { timeoutMs: 100 });
  assert.deepEqual(outcome, { port, outcome: "timeout" });
});

test("an abort ends a connection that is still being made", async (t) => {
  const port = await openDeafPort(t);
  const controller = new AbortController();
  const probing = probeTcp("127.0.0.1", port, controller.signal);
  controller.abort(new Error("stopped by the caller"));
  await assert.rejects(probing, /stopped by the caller/);
});
