import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { exportSPKI, importJWK, type JWK, SignJWT } from "jose";
import pino from "pino";
import { type Answer, eventually, startServer } from "../../../../test/harness.ts";
import { connectClient, openClient, refusedHandshake, subscribe } from "../../../../test/stomp-client.ts";
import { clientToken, makeClient, tokenWith } from "../../../../test/tokens.ts";

/** All that the server logs, down to the last detail. */
const logged: string[] = [];
const log = pino({ level: "trace" }, { write: (line: string) => void logged.push(line) });
const server = await startServer({ log });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const holds = ["notification.subscribe"] as const;
const freshKey = () => server.key(tenant, holds);

/** The newest lines of the activity log about sessions: method, status, code, reason. */
async function lines(ofTenant = tenant): Promise<any[]> {
  await server.kernel.activity.flush();
  return server.sql(
    "select method, status, code, reason, route, request_id, operation_id, version, address, actor from access.activity where tenant_id = $1 and operation_id = 'connectStomp' order by id desc",
    [ofTenant],
  );
}

/** An upgrade as it stands, and the reply to it. */
function upgrade(path: string, headers: Record<string, string>) {
  return new Promise<Pick<Answer, "status" | "headers" | "text">>((resolve, reject) => {
    const asked = request(url + path, { headers: { connection: "Upgrade", upgrade: "websocket", ...headers } });
    asked.on("error", reject);
    asked.on("upgrade", ({ statusCode, headers: got }, socket) => {
      socket.destroy();
      resolve({ status: statusCode!, headers: new Headers(got as Record<string, string>), text: "" });
    });
    asked.on("response", async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve({ status: response.statusCode!, headers: new Headers(response.headers as Record<string, string>), text });
    });
    asked.end();
  });
}
const webSocket = { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" };

test("ST-1. the handshake echoes the best sub-protocol that is offered, and none where none is", async () => {
  const protocolOf = async (protocols: string[], path?: string) => {
    const client = await openClient(url, { protocols, path });
    client.cut();
    return client.protocol;
  };
  assert.equal(await protocolOf(["v12.stomp", "v11.stomp", "v10.stomp"]), "v12.stomp");
  assert.equal(await protocolOf(["v10.stomp", "v11.stomp", "x"]), "v11.stomp");
  assert.equal(await protocolOf(["v11.stomp"]), "v11.stomp");
  for (const label of ["v1", "latest"]) assert.equal(await protocolOf([], `/${label}/stomp`), "");
  const none = await upgrade("/v1/stomp", webSocket);
  assert.deepEqual([none.status, none.headers.get("sec-websocket-protocol")], [101, null]);
  assert.equal(none.headers.get("sec-websocket-extensions"), null);
  assert.equal((await refusedHandshake(url, { protocols: ["mqtt"] })).status, 400);
});

test("ST-1. no Origin, our own and those of the settings are accepted, any other is 403", async () => {
  const own = await openClient(url, { origin: url });
  own.cut();
  for (const origin of ["https://evil.example", "null", `${url}.evil.example`]) {
    const foreign = await refusedHandshake(url, { origin });
    assert.deepEqual([foreign.status, foreign.body.code], [403, "origin_refused"], origin);
  }
  const beside = await startServer({
    beside: server,
    settings: { stomp: { ...server.kernel.settings.stomp, origins: ["https://pages.example"] } },
  });
  (await openClient(beside.url, { origin: "https://pages.example" })).cut();
  await beside.close();
});

test("ST-1. an unknown label is 404, and a call that is no upgrade 426", async () => {
  for (const label of ["v0", "v01", "V1", "v999"]) {
    const unknown = await refusedHandshake(url, { path: `/${label}/stomp` });
    assert.deepEqual([unknown.status, unknown.body.code], [404, "version_unknown"], label);
    assert.deepEqual(unknown.body.versions, ["v1", "latest"]);
    assert.equal((await server.get(`/${label}/stomp`)).status, 404);
  }
  const plain = await server.get("/v1/stomp");
  assert.deepEqual([plain.status, plain.body.code], [426, "upgrade_required"]);
  assert.equal(plain.headers.get("upgrade"), "websocket");
  assert.equal((await server.post("/v1/stomp", {})).status, 404);
});

test("the replies to a handshake carry what any reply does, and what is no WebSocket is told in a problem", async () => {
  const asked = { "x-request-id": "mine-1", "correlation-id": "theirs-1" };
  for (const headers of [{ ...webSocket, ...asked }, { ...asked, "x-api-key": "wrong" }, asked]) {
    const { status, headers: got, text } = await upgrade("/v1/stomp", headers);
    assert.equal(status, "x-api-key" in headers ? 401 : "sec-websocket-key" in headers ? 101 : 400);
    assert.deepEqual(
      ["x-request-id", "correlation-id", "api-version"].map((name) => got.get(name)),
      ["mine-1", "theirs-1", "v1"],
    );
    if (status === 101) continue;
    assert.equal(got.get("content-type"), "application/problem+json");
    assert.equal(JSON.parse(text).requestId, "mine-1");
  }
  const unknown = await upgrade("/v1/stomp?colour=red", webSocket);
  assert.equal(unknown.status, 400);
  assert.equal(JSON.parse(unknown.text).errors[0].parameter, "colour");
});

test("the handshake is one call of the usage plan, in the activity log of its caller; frames and events are none", async () => {
  const own = await server.tenant(server.rootId, "customer", "Counted");
  const lanes = { ratePerSecond: 1_000, burst: 1_000, perDay: 3 };
  await server.sql(
    `with p as (insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at)
       values ($1, 'pln_01jd8w6r7qf0ztb5c2m9x4k3en', 'Counted', $2, now(), now()) returning id)
     update access.tenant set plan_id = (select id from p) where id = $3`,
    [server.rootId, JSON.stringify({ api: lanes, scim: lanes, publish: lanes }), own],
  );
  await server.kernel.forget();
  const key = await server.key(own, holds);
  const used = async () => (await server.get(`/v1/tenant/${own}/usage`, { key: above })).body.lanes.api.usedToday;
  const above = await server.key(server.rootId, "provider_administrator");
  const first = await openClient(url, { headers: { "x-api-key": key } });
  first.send("CONNECT\naccept-version:1.2\n\n\0");
  await first.next("CONNECTED");
  for (let n = 0; n < 10; n++) await subscribe(first, `s${n}`);
  // One whose credential comes with CONNECT is charged then.
  const second = await connectClient(url, key);
  assert.equal(await eventually(async () => (await used()) >= 2 && (await used())), 2);
  (await connectClient(url, key)).cut();
  const refused = await refusedHandshake(url, { headers: { "x-api-key": key } });
  assert.deepEqual([refused.status, refused.body.code], [429, "quota_exceeded"]);
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  const told = await lines(own);
  const handshakes = told.filter(({ method }) => method === "GET");
  assert.deepEqual(
    handshakes.map(({ status, code }) => [status, code]),
    [
      [429, "quota_exceeded"],
      [101, null],
    ],
  );
  assert.equal(handshakes[0].actor.kind, "key");
  assert.equal(told.filter(({ method }) => method === "CONNECT").length, 3);
  assert.equal(told.filter(({ method }) => method === "SUBSCRIBE").length, 10);
  assert.ok(told.every(({ route, version }) => route === "/{label}/stomp" && version === "v1"));
  first.cut();
  second.cut();
});

test("a call that offers another upgrade is answered as if it had not", async () => {
  const key = await freshKey();
  const status = await new Promise((resolve, reject) => {
    const asked = request(`${url}/v1/ping`, {
      headers: { "x-api-key": key, upgrade: "h2c", connection: "Upgrade, HTTP2-Settings", "http2-settings": "" },
    });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end();
  });
  assert.equal(status, 200);
});

test("ST-2. CONNECT in every spelling is answered by CONNECTED with version 1.2", async () => {
  const key = await freshKey();
  const client = await makeClient(server, tenant, holds);
  const jwt = await clientToken(server, client);
  const head = "accept-version:1.2,1.1,1.0\nheart-beat:10000,10000\n";
  const frames = [
    `CONNECT\n${head}passcode:${jwt}\n\n\0`,
    `STOMP\n${head}passcode:${jwt}\n\n\0`,
    `CONNECT\n${head}Authorization:Bearer ${jwt}\n\n\0`,
    `CONNECT\n${head}passcode:${jwt}\n\n\0`.replaceAll("\n", "\r\n"),
    `CONNECT\n${head}login:any\npasscode:${key}\n\n\0`,
    `CONNECT\n${head}X-API-Key:${key}\n\n\0`,
  ];
  for (const frame of frames) {
    const session = await openClient(url);
    session.send(frame);
    const { headers } = await session.next("CONNECTED");
    assert.equal(headers.version, "1.2");
    assert.match(headers.session!, /^ses_/);
    assert.equal(headers.server, "Demarc/0.0.0-test");
    assert.equal(headers["heart-beat"], "10000,10000");
    assert.equal(headers["api-version"], "v1");
    session.cut();
  }
  const fromHandshake = await openClient(url, { headers: { authorization: `Bearer ${jwt}` } });
  fromHandshake.send(`CONNECT\n${head}\n\0`);
  await fromHandshake.next("CONNECTED");
  fromHandshake.cut();
  assert.equal((await refusedHandshake(url, { headers: { "x-api-key": "wrong" } })).status, 401);
});

test("ST-3. what is no frame, or comes at the wrong time, faults with its code", async () => {
  const first = await openClient(url);
  first.send("SUBSCRIBE\nid:a\ndestination:/topic/event\n\n\0");
  assert.equal(await first.fault(), "not_connected 1002");
  const key = await freshKey();
  const faultOf = async (text: string) => {
    const client = await connectClient(url, key);
    client.send(text);
    return client.fault();
  };
  assert.equal(await faultOf("WRONGCOMMAND\n\n\0"), "unknown_command 1002");
  assert.equal(await faultOf("send\ndestination:/topic/event\n\n\0"), "unknown_command 1002");
  assert.equal(await faultOf("SUBSCRIBE\nnonsense\n\n\0"), "frame_malformed 1007");
  assert.equal(await faultOf("SUBSCRIBE\n:x\n\n\0"), "frame_malformed 1007");
});

test("ST-4. every bad credential is refused in the same octets but for the request id, no sooner than 250 ms, and nothing keeps it", async () => {
  const key = await freshKey();
  const service = await makeClient(server, tenant, holds, { accessTokenSeconds: 60 });
  const expired = await clientToken(server, service);
  server.clock.advance(61_000);
  const token = await clientToken(server, service);
  const [kid, payload] = token.split(".") as [string, string];
  const { keys } = (await server.get("/oauth/jwks")).body as { keys: JWK[] };
  const pem = await exportSPKI((await importJWK(keys[0]!, keys[0]!.alg)) as Parameters<typeof exportSPKI>[0]);
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const header = JSON.parse(Buffer.from(kid, "base64url").toString());
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const withPublicKey = await new SignJWT(claims)
    .setProtectedHeader({ ...header, alg: "HS256" })
    .sign(new TextEncoder().encode(pem));
  const bad: Record<string, string> = {
    wrong: "no-such-credential",
    "wrong key": `${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}`,
    expired,
    "expired key": await server.key(tenant, holds, { expiresAt: new Date(server.clock.now().getTime() - 1) }),
    "wrong audience": await tokenWith(server, token, { aud: "https://elsewhere.example" }),
    "alg:none": `${encode({ ...header, alg: "none" })}.${payload}.`,
    "HMAC with the public key": withPublicKey,
    tampered: `${token.slice(0, -3)}AAA`,
  };
  const seen = new Set<string>();
  const present = async (line: string, credential: string) => {
    const session = await openClient(url);
    const sentAt = performance.now();
    session.send(`CONNECT\naccept-version:1.2\n${line}\nreceipt:r\n\n\0`);
    await session.next("ERROR");
    assert.ok(performance.now() - sentAt >= 249, line);
    assert.equal(await session.fault(), "authentication_failed 1008", line);
    assert.equal(session.frames.length, 1, "no CONNECTED");
    const { body, headers, octets } = session.frames[0]!;
    const { requestId } = JSON.parse(body.toString());
    assert.match(requestId, /^rid_/);
    assert.equal(Number(headers["content-length"]), body.length);
    seen.add(octets.toString().replace(requestId, "rid_"));
    assert.ok(!octets.includes(credential));
  };
  for (const credential of Object.values(bad)) {
    const ways = [`passcode:${credential}`, `Authorization:Bearer ${credential}`, `x-api-key:${credential}`];
    await Promise.all(ways.map((line) => present(line, credential)));
  }
  assert.equal(seen.size, 1, [...seen].join("\n"));
  const missing = await openClient(url);
  missing.send("CONNECT\naccept-version:1.2\n\n\0");
  assert.equal(await missing.fault(), "authentication_failed 1008");
  (await connectClient(url, await clientToken(server, service))).cut();

  await server.kernel.activity.flush();
  const kept = JSON.stringify(await server.sql("select * from access.activity")) + logged.join("");
  for (const [name, credential] of Object.entries(bad)) {
    assert.ok(!kept.includes(credential), name);
    const signature = credential.split(".")[2];
    if (signature) assert.ok(!kept.includes(signature), name);
  }
  // Its owner reads why, nobody else.
  const [own] = (await lines()).filter(({ method, reason }) => method === "ERROR" && reason === "expired");
  assert.equal(own.code, "authentication_failed");
});

test("ST-4. a credential in the address is 401 whatever else is sent, and no line has the query", async () => {
  const key = await freshKey();
  const names = ["access_token", "api_key", "x-api-key", "token", "passcode", "Authorization", "AUTHTOKEN"];
  for (const name of names) {
    const path = `/v1/stomp?a=1&${name}=secret-value`;
    for (const headers of [{}, { "x-api-key": key }] as Record<string, string>[]) {
      const refused = await refusedHandshake(url, { path, headers });
      assert.deepEqual([refused.status, refused.body.hint], [401, "query_string"], name);
      assert.ok(!JSON.stringify(refused.body).includes("secret-value"));
    }
    assert.equal((await server.get(path)).status, 401, `${name}, and no upgrade`);
  }
  await server.kernel.activity.flush();
  const kept = JSON.stringify(await server.sql("select * from access.activity")) + logged.join("");
  for (const trace of ["secret-value", "a=1", "stomp?"]) assert.ok(!kept.includes(trace), trace);
});

test("a credential in the handshake and one in CONNECT must both be good and the same principal's; two in CONNECT conflict", async () => {
  const [one, other] = [await freshKey(), await freshKey()];
  const connect = async (handshake: string | null, headers: string) => {
    const client = await openClient(url, handshake === null ? {} : { headers: { "x-api-key": handshake } });
    client.send(`CONNECT\naccept-version:1.2\n${headers}\n\0`);
    await eventually(() => client.frames.length > 0);
    const [first] = client.frames;
    if (first!.command === "ERROR") return client.fault();
    client.cut();
    return first!.command;
  };
  assert.equal(await connect(one, ""), "CONNECTED");
  assert.equal(await connect(one, `passcode:${one}\n`), "CONNECTED");
  assert.equal(await connect(one, `passcode:${other}\n`), "authentication_failed 1008");
  assert.equal(await connect(one, "passcode:wrong\n"), "authentication_failed 1008");
  assert.equal(await connect(null, `passcode:${one}\nx-api-key:${one}\n`), "header_conflict 1002");
  assert.equal(await connect(null, ""), "authentication_failed 1008");
});

test("a good credential that may not connect is told what REST would tell it", async () => {
  const codeOf = async (key: string, path?: string) => {
    const client = await openClient(url, { path });
    client.send(`CONNECT\naccept-version:1.2\npasscode:${key}\n\n\0`);
    return client.fault();
  };
  assert.equal(await codeOf(await server.key(tenant, ["user.read"])), "permission_missing 1008");
  const without = (features: Record<string, boolean>, name: string) =>
    server.tenant(server.rootId, "customer", name, features);
  const noApi = await without({ api: false }, "No API");
  assert.equal(await codeOf(await server.key(noApi, holds)), "api_not_enabled 1008");
  const noNews = await without({ notifications: false }, "No news");
  assert.equal(await codeOf(await server.key(noNews, holds)), "service_not_enabled 1008");
  const asleep = await without({}, "Asleep");
  const key = await server.key(asleep, holds);
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [asleep]);
  await server.kernel.forget();
  assert.equal(await codeOf(key), "tenant_suspended 1008");
  assert.equal(await codeOf(await freshKey(), "/beta/stomp"), "version_unknown 1008");
});

test("ST-5. an unknown version of STOMP is refused with the list of the three", async () => {
  for (const version of ["1.3", "2.0,0.9", ""]) {
    const client = await openClient(url);
    client.send(`CONNECT\naccept-version:${version}\npasscode:${await freshKey()}\n\n\0`);
    assert.equal(await client.fault(), "version_not_supported 1002");
    assert.equal(client.frames[0]!.headers.version, "1.0,1.1,1.2");
  }
  const client = await connectClient(url, await freshKey(), "1.0 , 1.1");
  assert.equal(client.of("CONNECTED")[0]!.headers.version, "1.1");
  client.cut();
});

test("ST-5. who sends no CONNECT in the time of the settings is sent away", async () => {
  const hasty = await startServer({
    beside: server,
    settings: { stomp: { ...server.kernel.settings.stomp, loginSeconds: 1 } },
  });
  const mute = await openClient(hasty.url);
  assert.equal(await mute.fault(), "login_timeout 1008");
  await hasty.close();
});

/** The last, since nobody of this address gets in afterwards. */
test("ST-5. sixty wrong passcodes in a minute are answered; after the 61st the address's next handshake is 429", async () => {
  server.clock.advance(61_000);
  const wrong = async (n: number) => {
    const client = await openClient(url);
    client.send(`CONNECT\naccept-version:1.2\npasscode:wrong-${n}\n\n\0`);
    assert.equal(await client.fault(), "authentication_failed 1008");
  };
  await Promise.all(Array.from({ length: 60 }, (_, n) => wrong(n)));
  (await openClient(url)).cut();
  await wrong(60);
  const refused = await refusedHandshake(url);
  assert.deepEqual([refused.status, refused.body.code], [429, "credential_throttled"]);
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  const good = await refusedHandshake(url, { headers: { "x-api-key": await freshKey() } });
  assert.equal(good.status, 429);
  server.clock.advance(61_000);
  (await openClient(url)).cut();
});
