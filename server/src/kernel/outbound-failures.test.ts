import assert from "node:assert/strict";
import { once } from "node:events";
import https from "node:https";
import net, { type Socket } from "node:net";
import { mock, test } from "node:test";
import tls from "node:tls";
import { cert, guard, key, refusal, serve, serveRaw, success } from "./outbound.fixture.ts";
import { createOutbound, type OutboundReply } from "./outbound.ts";
import { createAddressGuard } from "./outbound-guard.ts";

test("A reply that stalls anywhere is a timeout: in the look-up, in TLS, before and within head and body", async () => {
  const dead = createOutbound({
    guard: createAddressGuard({ allow: ["127.0.0.1/32"], lookup: () => new Promise(() => {}) }),
    userAgent: "Demarc/test",
  });
  const lookup = await refusal({ url: "https://receiver.example/", timeoutMs: 50 }, dead);
  assert.deepEqual([lookup.reason, lookup.address], ["timeout", null]);
  const silent = await serve(net.createServer());
  const handshake = await refusal({ url: `https://receiver.example:${silent.port}/`, timeoutMs: 100 });
  assert.deepEqual([handshake.reason, handshake.address], ["timeout", "127.0.0.1"]);
  const stalls = [
    "",
    "HTTP/1.1 2",
    "HTTP/1.1 200 OK\r\nx-a: b\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
  ];
  stalls.push(
    "HTTP/1.1 102 Processing\r\n\r\n".repeat(20),
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
  );
  for (const beginning of stalls) {
    const { port } = await serveRaw((socket) => socket.write(beginning));
    assert.equal((await refusal({ url: `http://127.0.0.1:${port}/`, timeoutMs: 100 })).reason, "timeout", beginning);
  }
});

test("A reply that drips byte by byte is cut off by the one limit for the whole call", async () => {
  const { port } = await serveRaw((socket) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const drip = setInterval(() => socket.write("x"), 5);
    socket.on("close", () => clearInterval(drip));
  });
  assert.equal((await refusal({ url: `http://127.0.0.1:${port}/`, timeoutMs: 150 })).reason, "timeout");
});

test("Without a limit of its own a call gets 15 s, and 5 s of them to connect", async (t) => {
  t.after(() => mock.timers.reset());
  let spoken = Promise.withResolvers<void>();
  const silent = await serveRaw(() => spoken.resolve());
  const fresh = createOutbound({ guard, userAgent: "Demarc/test" });
  mock.timers.enable({ apis: ["setTimeout"] });
  for (const [protocol, limitMs] of [
    ["http", 15_000],
    ["https", 5_000],
  ] as const) {
    spoken = Promise.withResolvers<void>();
    const replies: OutboundReply[] = [];
    const call = fresh.call({ method: "GET", url: `${protocol}://receiver.example:${silent.port}/` });
    const noted = call.then((reply) => replies.push(reply));
    await spoken.promise;
    mock.timers.tick(limitMs - 1);
    await new Promise(setImmediate);
    assert.deepEqual(replies, []);
    mock.timers.tick(1);
    await noted;
    const reply = await call;
    assert.ok(!reply.ok && reply.reason === "timeout" && reply.detail.includes(`${limitMs} ms`), JSON.stringify(reply));
  }
});

test("A reply that is not HTTP/1.1, or has a head without end, is malformed", async () => {
  const heads = {
    "header bomb": `HTTP/1.1 200 OK\r\n${"x-a: bbbbbbbbbbbbbbbbbbbb\r\n".repeat(10_000)}\r\n`,
    "one long header": `HTTP/1.1 200 OK\r\nx-a: ${"b".repeat(100_000)}\r\n\r\n`,
    garbage: "220 mail.example ESMTP\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks":
      "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "bad chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    upgrade: "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    continue: "HTTP/1.1 100 Continue\r\n\r\n",
  };
  for (const [name, head] of Object.entries(heads)) {
    const { port } = await serveRaw((socket) => socket.write(head));
    assert.equal((await refusal({ url: `http://127.0.0.1:${port}/` })).reason, "reply_malformed", name);
  }
});

test("A connection that ends before the reply does is lost, not refused", async () => {
  const ends: Record<string, (socket: Socket) => void> = {
    "half-closed at once": (socket) => socket.end(),
    "half-closed in the body": (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    "half-closed in the head": (socket) => socket.end("HTTP/1.1 200 OK\r\nx-a"),
    reset: (socket) => socket.resetAndDestroy(),
    "reset in the body": (socket) =>
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", () => socket.resetAndDestroy()),
  };
  for (const [name, end] of Object.entries(ends)) {
    const { port } = await serveRaw(end);
    const reply = await refusal({ url: `http://127.0.0.1:${port}/` });
    assert.deepEqual([reply.reason, reply.address], ["connection_lost", "127.0.0.1"], name);
  }
});

test("A port where nobody listens is a failed connection, over http and https", async () => {
  const { server, port } = await serve(net.createServer());
  server.close();
  await once(server, "close");
  for (const protocol of ["http", "https"]) {
    const reply = await refusal({ url: `${protocol}://receiver.example:${port}/` });
    assert.deepEqual([reply.reason, reply.address], ["connect_failed", "127.0.0.1"]);
    assert.match(reply.detail, /receiver\.example port \d+: ECONNREFUSED/);
  }
});

test("An https reply needs a trusted certificate of that name, whatever the environment says", async (t) => {
  const trusted = tls.getCACertificates("default");
  t.after(() => {
    tls.setDefaultCACertificates(trusted);
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  });
  const seen: { servername: unknown; alpn: unknown; host: unknown }[] = [];
  const names: string[] = [];
  const SNICallback = (name: string, done: (error: null) => void) => {
    names.push(name);
    done(null);
  };
  const { port } = await serve(
    https.createServer({ key, cert, SNICallback, ALPNProtocols: ["h2", "http/1.1"] }, (request, response) => {
      const { servername, alpnProtocol } = request.socket as tls.TLSSocket & { servername: unknown };
      seen.push({ servername, alpn: alpnProtocol, host: request.headers.host });
      response.end("sealed");
    }),
  );
  const plain = await serveRaw((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const cut = await serve(net.createServer((socket) => socket.once("data", () => socket.end())));
  assert.equal((await refusal({ url: `https://receiver.example:${plain.port}/` })).reason, "tls_failed");
  assert.equal((await refusal({ url: `https://receiver.example:${cut.port}/` })).reason, "tls_failed");

  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  const selfSigned = await refusal({ url: `https://receiver.example:${port}/` });
  assert.deepEqual([selfSigned.reason, selfSigned.address], ["tls_failed", "127.0.0.1"]);
  assert.match(selfSigned.detail, /DEPTH_ZERO_SELF_SIGNED_CERT/);
  tls.setDefaultCACertificates([...trusted, cert]);
  for (const host of ["other.example", "127.0.0.1"]) {
    const otherName = await refusal({ url: `https://${host}:${port}/` });
    assert.equal(otherName.reason, "tls_failed");
    assert.match(otherName.detail, /ERR_TLS_CERT_ALTNAME_INVALID/);
  }
  assert.deepEqual(seen, []);
  assert.deepEqual(names, ["receiver.example", "other.example"], "an address must not stand in SNI");

  for (const host of ["receiver.example", "receiver.example."]) {
    const reply = await success({ url: `https://${host}:${port}/` });
    assert.equal(Buffer.from(reply.body).toString(), "sealed");
  }
  assert.deepEqual(seen, [
    { servername: "receiver.example", alpn: "http/1.1", host: `receiver.example:${port}` },
    { servername: "receiver.example", alpn: "http/1.1", host: `receiver.example.:${port}` },
  ]);
});
