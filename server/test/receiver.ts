/** A receiver of webhooks on loopback, for one test file. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after } from "node:test";
import { sawEvent } from "./wire.ts";

export type Received = { headers: Record<string, string>; body: string; path: string };
type Answer = (received: Received, response: ServerResponse, request: IncomingMessage) => void;

export async function startReceiver(answer: Answer = (_, response) => void response.writeHead(204).end()) {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const receiver = { received, url: "", connections: 0, answer, close };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const one = { headers: request.headers as Record<string, string>, body, path: request.url! };
    received.push(one);
    if (/^application\/cloudevents\+json/.test(one.headers["content-type"] ?? ""))
      sawEvent(body, { webhook: one.headers });
    receiver.answer(one, response, request);
  });
  server.on("connection", (socket) => {
    receiver.connections++;
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  function close(): void {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
  after(close);
  return receiver;
}

/** The headers of a delivery, as the independent verifier takes them. */
export const signedHeaders = ({ headers }: Received) =>
  Object.fromEntries(["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, headers[name]!]));
