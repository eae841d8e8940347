import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import { after } from "node:test";
import { createOutbound, type OutboundRequest } from "./outbound.ts";
import { createAddressGuard } from "./outbound-guard.ts";

// Self-signed for receiver.example alone, 2020 to 2120; used nowhere but here.
export const key = pem(
  "PRIVATE KEY",
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5hxEauaWTCaGySfbA4myYTFcumEVddZlAPTU/JNT85+hRANCAAT4" +
    "4bayXMwhuhl6f1N/crboYZIWNroJCQkqcgWS8qoaD7dBt1UVUPQ0B4Ba55eUlvcyVMbsW2k1CfBFniYMQ8/d",
);
export const cert = pem(
  "CERTIFICATE",
  "MIIBdzCCARygAwIBAgIBATAKBggqhkjOPQQDAjAbMRkwFwYDVQQDDBByZWNlaXZlci5leGFtcGxlMCAXDTIwMDEwMTAwMDAwMFoY" +
    "DzIxMjAwMTAxMDAwMDAwWjAbMRkwFwYDVQQDDBByZWNlaXZlci5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+OG2" +
    "slzMIboZen9Tf3K26GGSFja6CQkJKnIFkvKqGg+3QbdVFVD0NAeAWueXlJb3MlTG7FtpNQnwRZ4mDEPP3aNPME0wDwYDVR0TAQH/" +
    "BAUwAwEB/zAbBgNVHREEFDASghByZWNlaXZlci5leGFtcGxlMB0GA1UdDgQWBBQPV3tfrV56QUpW15Xgs0IpehnCgjAKBggqhkjO" +
    "PQQDAgNJADBGAiEAwR7X36kHzSE196Zl0SSqdIVW+QEGYimiQdQmEt3tB3kCIQCYKb1ov5sIPpejhgZyRg/ldFLgmfhLbsiRyDLJ" +
    "s+PBPA==",
);

function pem(label: string, base64: string): string {
  return `-----BEGIN ${label}-----\n${base64.replace(/.{64}/g, "$&\n")}\n-----END ${label}-----\n`;
}

/** Names lead to loopback, so that a test needs no name server. */
export const guard = createAddressGuard({ allow: ["127.0.0.1/32"], lookup: async () => ["127.0.0.1"] });
export const outbound = createOutbound({ guard, userAgent: "Demarc/test" });
after(() => outbound.close());

/** A server on loopback for one test file; whatever is still connected at its end is cut. */
export async function serve<T extends Server>(server: T): Promise<{ server: T; port: number }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket.on("error", () => {}));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

/** A server that answers the first bytes of a request with whatever `answer` does. */
export function serveRaw(answer: (socket: Socket) => void) {
  return serve(net.createServer((socket) => socket.once("data", () => answer(socket))));
}

export async function refusal(request: Partial<OutboundRequest> & { url: string }, by = outbound) {
  const reply = await by.call({ method: "POST", body: "x", ...request });
  assert.ok(!reply.ok, "the call succeeded");
  return reply;
}

export async function success(request: Partial<OutboundRequest> & { url: string }, by = outbound) {
  const reply = await by.call({ method: "GET", ...request });
  assert.ok(reply.ok, JSON.stringify(reply));
  return reply;
}
