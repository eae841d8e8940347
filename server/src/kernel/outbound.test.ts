import assert from "node:assert/strict";
import { once } from "node:events";
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import net from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { cert, guard, key, refusal, serve, serveRaw, success } from "./outbound.fixture.ts";
import { createOutbound, redactUrl } from "./outbound.ts";
import { createAddressGuard } from "./outbound-guard.ts";

test("A request arrives as it was given, with the client's own headers, and its reply comes back", async () => {
  let seen: { method?: string; url?: string; headers: http.IncomingHttpHeaders; body: string } | undefined;
  const { port } = await serve(
    http.createServer(async (request, response) => {
      const { method, url, headers } = request as IncomingMessage & { method: string; url: string };
      seen = { method, url, headers, body: (await request.setEncoding("utf8").toArray()).join("") };
      response.writeHead(418, { "x-a": ["1", "2"], "content-type": "text/plain" }).end("short and stout");
    }),
  );
  const reply = await success({
    method: "PUT",
    url: `http://receiver.example:${port}/a%20b/?q=1&q=%C3%BC`,
    headers: { "webhook-id": "msg_1", "Content-Type": "application/json" },
    body: Buffer.from('{"a":"ü"}'),
  });
  assert.equal(reply.status, 418);
  assert.deepEqual(reply.headers["x-a"], ["1", "2"]);
  assert.equal(Buffer.from(reply.body).toString(), "short and stout");
  assert.equal(reply.truncated, false);
  assert.equal(reply.address, "127.0.0.1");
  assert.ok(Number.isInteger(reply.durationMs) && reply.durationMs >= 0);
  assert.equal(seen?.method, "PUT");
  assert.equal(seen?.url, "/a%20b/?q=1&q=%C3%BC");
  assert.equal(seen?.body, '{"a":"ü"}');
  assert.deepEqual(seen?.headers, {
    host: `receiver.example:${port}`,
    connection: "keep-alive",
    "webhook-id": "msg_1",
    "content-type": "application/json",
    "user-agent": "Demarc/test",
    "content-length": "10",
  });
});

test("A name that changes its address after the check is looked up once and reached at the checked address", async () => {
  let connections = 0;
  const { server, port } = await serve(http.createServer((_, response) => response.end("pinned")));
  server.on("connection", () => {
    connections += 1;
  });
  const answers = [["127.0.0.1"], ["10.0.0.1"]];
  let lookups = 0;
  const lookup = async () => answers[lookups++] ?? [];
  const rebound = createOutbound({
    guard: createAddressGuard({ allow: ["127.0.0.1/32"], lookup }),
    userAgent: "Demarc/test",
  });
  const url = `http://rebind.example:${port}/`;
  const reply = await success({ url }, rebound);
  assert.deepEqual(
    { lookups, connections, address: reply.address },
    { lookups: 1, connections: 1, address: "127.0.0.1" },
  );
  // The connection of the first call is still open: it must not carry a call that was refused.
  assert.equal((await refusal({ url }, rebound)).reason, "address_not_allowed");
  assert.deepEqual({ lookups, connections }, { lookups: 2, connections: 1 });
  await rebound.close();
});

test("Calls to one origin at one address share a connection; a name that has moved does not use the old one", async () => {
  let connections = 0;
  let requests = 0;
  const { server, port } = await serve(
    http.createServer((_, response) => {
      requests += 1;
      response.end();
    }),
  );
  server.on("connection", () => {
    connections += 1;
  });
  let address = "127.0.0.1";
  const moving = createOutbound({
    guard: createAddressGuard({ allow: ["127.0.0.0/8"], lookup: async () => [address] }),
    userAgent: "Demarc/test",
    connectTimeoutMs: 500,
  });
  const url = `http://moving.example:${port}/`;
  await success({ url }, moving);
  // undici hands a connection out again a turn after its reply has ended.
  await new Promise(setImmediate);
  await success({ url }, moving);
  assert.deepEqual({ connections, requests }, { connections: 1, requests: 2 });
  await success({ url: `http://other.example:${port}/` }, moving);
  assert.deepEqual({ connections, requests }, { connections: 2, requests: 3 });
  address = "127.0.0.9";
  assert.match((await refusal({ url }, moving)).reason, /^connect_failed$|^timeout$/);
  assert.deepEqual({ connections, requests }, { connections: 2, requests: 3 });
  await moving.close();
});

test("A redirect is a reply: its target gets no connection", async () => {
  const target = await serve(http.createServer());
  target.server.on("connection", () => assert.fail("the redirect was followed"));
  for (const status of [301, 302, 303, 307, 308]) {
    const location = `http://127.0.0.1:${target.port}/`;
    const { port } = await serve(
      http.createServer((_, response) => response.writeHead(status, { location }).end("moved")),
    );
    const reply = await success({ url: `http://127.0.0.1:${port}/` });
    assert.deepEqual([reply.status, reply.headers.location], [status, location]);
  }
});

test("A proxy of the environment is not used", async (t) => {
  const proxy = await serve(http.createServer());
  proxy.server.on("connection", () => assert.fail("the proxy was used"));
  const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NODE_USE_ENV_PROXY"];
  const before = names.map((name) => [name, process.env[name]] as const);
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  for (const name of names) process.env[name] = name.endsWith("ENV_PROXY") ? "1" : `http://127.0.0.1:${proxy.port}`;
  const { port } = await serve(http.createServer((_, response) => response.end()));
  const fresh = createOutbound({ guard, userAgent: "Demarc/test" });
  await success({ url: `http://receiver.example:${port}/` }, fresh);
  await fresh.close();
});

test("Of an endless reply 64 KiB are read, and then the connection is closed", async () => {
  let closed: Promise<unknown> | undefined;
  const { port } = await serveRaw((socket) => {
    closed = new Promise((resolve) => socket.on("close", resolve));
    socket.write("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n");
    const pour = () => {
      while (socket.writable && socket.write("x".repeat(16_384)));
    };
    socket.on("drain", pour);
    pour();
  });
  const reply = await success({ url: `http://127.0.0.1:${port}/` });
  assert.deepEqual([reply.status, reply.body.length, reply.truncated], [200, 65_536, true]);
  await closed;
});

test("A reply of exactly the limit is whole, one byte more is cut", async () => {
  const { port } = await serve(
    http.createServer((request, response) => response.end("x".repeat(Number(request.url?.slice(1))))),
  );
  for (const [size, maxReplyBytes, length, truncated] of [
    [65_536, undefined, 65_536, false],
    [65_537, undefined, 65_536, true],
    [10, 10, 10, false],
    [11, 10, 10, true],
    [0, 0, 0, false],
    [1, 0, 0, true],
  ] as const) {
    const reply = await success({
      url: `http://127.0.0.1:${port}/${size}`,
      ...(maxReplyBytes !== undefined && { maxReplyBytes }),
    });
    assert.deepEqual([reply.body.length, reply.truncated], [length, truncated], `${size} of ${maxReplyBytes}`);
  }
});

test("A caller's signal ends a call before, during and after its connection as aborted", async () => {
  const silent = await serve(net.createServer());
  assert.equal(
    (await refusal({ url: `http://127.0.0.1:${silent.port}/`, signal: AbortSignal.abort() })).reason,
    "aborted",
  );
  for (const protocol of ["http", "https"]) {
    const controller = new AbortController();
    const call = refusal({ url: `${protocol}://receiver.example:${silent.port}/`, signal: controller.signal });
    await once(silent.server, "connection");
    controller.abort();
    assert.equal((await call).reason, "aborted", protocol);
  }
});

test("Closing waits for the call under way and refuses the next", async () => {
  const requests: http.ServerResponse[] = [];
  const { server, port } = await serve(http.createServer((_, response) => requests.push(response)));
  const closing = createOutbound({ guard, userAgent: "Demarc/test" });
  const url = `http://127.0.0.1:${port}/`;
  const call = success({ url }, closing);
  await once(server, "request");
  let done = false;
  const closed = closing.close().then(() => {
    done = true;
  });
  assert.equal((await refusal({ url }, closing)).reason, "aborted");
  assert.equal(done, false);
  requests[0]?.end("in time");
  assert.equal(Buffer.from((await call).body).toString(), "in time");
  await closed;
  await closing.close();
  assert.equal(requests.length, 1);
});

test("A call whose look-up ends after the close is not made", async () => {
  const { server, port } = await serve(http.createServer());
  server.on("connection", () => assert.fail("the call went out"));
  const found = Promise.withResolvers<string[]>();
  const late = createOutbound({
    guard: createAddressGuard({ allow: ["127.0.0.1/32"], lookup: () => found.promise }),
    userAgent: "Demarc/test",
  });
  const call = refusal({ url: `http://receiver.example:${port}/` }, late);
  await late.close();
  found.resolve(["127.0.0.1"]);
  assert.equal((await call).reason, "aborted");
});

test("Headers that HTTP does not allow, and those of the client, are refused before anything is sent", async () => {
  const { server, port } = await serve(http.createServer());
  server.on("connection", () => assert.fail("the call went out"));
  const url = `http://127.0.0.1:${port}/`;
  const bad = [{ "x-a": "hunter2\r\nx-b: c" }, { "x a": "hunter2" }, { "x-a": "hunter2\u0000" }, { "x-a": "hunter2€" }];
  const own = ["Host", "user-agent", "Content-Length", "connection", "transfer-encoding", "Upgrade", "expect", "te"];
  own.push("Proxy-Authorization", "keep-alive", "trailer");
  for (const headers of [...bad, ...own.map((name) => ({ [name]: "hunter2" }))]) {
    const reply = await refusal({ url, headers: headers as Record<string, string> });
    assert.equal(reply.reason, "request_not_allowed", JSON.stringify(headers));
    assert.doesNotMatch(reply.detail, /hunter2/);
  }
});

test("No refusal repeats the path, the query, the user information, a header, the body or bytes of the reply", async () => {
  const reset = await serveRaw((socket) => socket.resetAndDestroy());
  const garbage = await serveRaw((socket) => socket.write("hunter2 hunter2\r\n\r\n"));
  const silent = await serve(net.createServer());
  const { port } = await serve(https.createServer({ key, cert }));
  const urls = [
    `http://127.0.0.1:${reset.port}/`,
    `http://127.0.0.1:${garbage.port}/`,
    `http://127.0.0.1:${silent.port}/`,
    `https://receiver.example:${port}/`,
    "http://hunter2@receiver.example/",
    "https://receiver.example\\",
    "https://10.0.0.1/",
    "https://re ceiver.example/",
  ];
  for (const url of urls) {
    const headers = { authorization: "Bearer hunter2" };
    const reply = await refusal({ url: `${url}hunter2?token=hunter2`, headers, body: "hunter2", timeoutMs: 300 });
    assert.doesNotMatch(JSON.stringify(reply), /hunter2/, url);
    assert.ok(reply.detail.length > 10);
  }
});

test("A redacted URL keeps scheme, host and path and the names of the query alone", () => {
  assert.equal(
    redactUrl("https://ann:hunter2@nms.example.net:8443/clear;x=1?alarm=9&token=t1=&b=&hunter2&=z#hunter2"),
    "https://nms.example.net:8443/clear;x=1?alarm=***&token=***&b=***&***&=***",
  );
  assert.equal(redactUrl("https://nms.example.net"), "https://nms.example.net/");
  assert.equal(redactUrl("https://nms.example.net/?"), "https://nms.example.net/");
  assert.equal(redactUrl("not a URL hunter2"), "(malformed URL)");
});

test("No value of a query survives redaction, however it is written", () => {
  const secret = fc.stringMatching(/^[a-z0-9]{12}$/);
  const name = fc.stringMatching(/^[A-Z%&;=?+[\]]{0,8}$/);
  fc.assert(
    fc.property(secret, name, name, (value, before, after) => {
      return !redactUrl(`https://u:${value}@receiver.example/?${before}=${value}${after}#${value}`).includes(value);
    }),
  );
});
