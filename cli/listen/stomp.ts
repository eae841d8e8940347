/** News over STOMP 1.2 on Node's own WebSocket. Every message is acknowledged: the window bounds what waits here. */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { addAbortSignal, Readable } from "node:stream";
import { Client, type IFrame, type StompHeaders, Versions } from "@stomp/stompjs";
import type { Channel, News } from "./channel.ts";
import { Broken, faultOf, retryAfterMs } from "./faults.ts";
import type { Options } from "./options.ts";

const connectMs = 15_000;
/** How long the end of a session may take, in which the server stores what was acknowledged. */
const partingMs = 3_000;

export const overStomp: Channel = async function* ({ options, credential, cursor, stop }) {
  const address = `${options.url}/${options.version}/stomp`;
  const inbox = new Readable({ objectMode: true, read() {} });
  // Whoever reads is told by the iteration.
  inbox.on("error", () => {});
  addAbortSignal(stop, inbox);
  let state = "opening" as "opening" | "open" | "over";
  async function end(words: string): Promise<void> {
    const before = state;
    state = "over";
    if (before !== "over") inbox.destroy(before === "open" ? new Broken(words) : await whyNot(address, credential));
  }
  const client = new Client({
    brokerURL: address.replace(/^http/, "ws"),
    stompVersions: new Versions([Versions.V1_2]),
    connectHeaders: credential,
    connectionTimeout: connectMs,
    reconnectDelay: 0,
    // A peer that has gone silent will not answer a close either.
    discardWebsocketOnCommFailure: true,
    onConnect() {
      state = "open";
      client.watchForReceipt("subscribed", ({ headers }) =>
        inbox.push({ kind: "place", cursor: options.keeps.in === "file" ? headers.cursor : null }),
      );
      client.subscribe(options.destination, (message) => inbox.push(newsOf(message)), subscription(options, cursor));
    },
    onStompError(frame) {
      state = "over";
      inbox.destroy(faultOfError(frame));
    },
    // Node 22 says of a connection that could not be made this, and nothing after it.
    onWebSocketError: () => end("The connection broke."),
    onWebSocketClose: ({ code }) => end(`The connection ended (${code}).`),
  });
  try {
    client.activate();
    for await (const news of inbox) yield news as News;
  } finally {
    const patience = setTimeout(() => void client.deactivate({ force: true }), partingMs);
    await client.deactivate({ force: state !== "open" });
    clearTimeout(patience);
  }
};

function subscription({ keeps, types, tenant, below, from }: Options, cursor: string | null): StompHeaders {
  return {
    receipt: "subscribed",
    ack: "client-individual",
    ...(types ? { types } : {}),
    ...(tenant ? { tenant } : {}),
    ...(below ? { "include-below": "true" } : {}),
    ...(keeps.in === "durable" ? { durable: keeps.name } : {}),
    ...(cursor ? { "last-event-id": cursor } : from ? { from } : {}),
  };
}

function newsOf({ headers, body, ack }: IFrame & { ack(): void }): News {
  return { kind: "event", id: headers["event-id"]!, text: body, cursor: headers.cursor ?? null, settle: ack };
}

function faultOfError({ headers, body }: IFrame): Error {
  let detail = headers.message ?? "";
  try {
    detail = (JSON.parse(body) as { detail?: string }).detail ?? detail;
  } catch {
    // Not a problem of ours: the line in the header says it.
  }
  return faultOf({ code: headers.code ?? "", detail, oldestCursor: headers["oldest-cursor"] });
}

/** Why the server lets no session begin: what Node's WebSocket was answered it does not tell, so it is asked again. */
function whyNot(address: string, credential: Record<string, string>): Promise<Error> {
  const request = address.startsWith("https:") ? requestHttps : requestHttp;
  const headers = {
    ...credential,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": Buffer.alloc(16).toString("base64"),
  };
  return new Promise((done) => {
    const asked = request(address, { headers, agent: false, timeout: connectMs });
    asked.once("upgrade", (_reply, socket) => {
      socket.destroy();
      done(new Broken(`${address} broke off.`));
    });
    asked.once("response", async (reply) => {
      let text = "";
      for await (const chunk of reply.setEncoding("utf8")) text += chunk;
      const { code, detail } = problemOf(text);
      const { statusCode: status = 0, headers: got } = reply;
      const wait = retryAfterMs(got["retry-after"]);
      done(faultOf({ code: code ?? `status ${status}`, detail: detail ?? address, status, retryAfterMs: wait }));
    });
    asked.once("timeout", () => asked.destroy(new Error("no answer")));
    asked.once("error", (error) => done(new Broken(`${address} does not answer: ${error.message}`)));
    asked.end();
  });
}

function problemOf(text: string): { code?: string; detail?: string } {
  try {
    return JSON.parse(text) as { code?: string; detail?: string };
  } catch {
    return {};
  }
}
