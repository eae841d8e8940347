/** A STOMP client for tests: octets as the test writes them, frames as the specification cuts them. */
import type { IncomingHttpHeaders } from "node:http";
import { WebSocket } from "ws";
import { eventually } from "./harness.ts";
import { sawEvent } from "./wire.ts";

export type Received = { command: string; headers: Record<string, string>; body: Buffer; isBinary: boolean };

type Options = {
  headers?: Record<string, string>;
  protocols?: string[];
  path?: string;
  origin?: string;
  /** Gets the headers of the 101. */
  onUpgrade?(headers: IncomingHttpHeaders): void;
};

export type StompClient = Awaited<ReturnType<typeof openClient>>;

export async function openClient(url: string, options: Options = {}) {
  const { headers, protocols = ["v12.stomp"], path = "/v1/stomp", origin } = options;
  const ws = new WebSocket(url.replace(/^http/, "ws") + path, protocols, { headers, origin });
  if (options.onUpgrade) ws.once("upgrade", ({ headers: given }) => options.onUpgrade!(given));
  const frames: Received[] = [];
  let closed: number | null = null;
  let octets = 0;
  ws.on("message", (data: Buffer, isBinary: boolean) => {
    octets += data.length;
    if (data.length <= 1) return;
    const frame = parse(data, isBinary);
    frames.push(frame);
    if (frame.command === "MESSAGE" && /^application\/cloudevents\+json/.test(frame.headers["content-type"] ?? ""))
      sawEvent(frame.body.toString(), { message: frame.headers });
  });
  ws.on("close", (code) => {
    closed = code;
  });
  await new Promise<void>((resolve, reject) => {
    ws.once("open", resolve);
    ws.once("error", reject);
  });
  const of = (command: string) => frames.filter((frame) => frame.command === command);
  return {
    ws,
    frames,
    of,
    protocol: ws.protocol,
    octets: () => octets,
    closed: () => closed,
    send: (text: string | Buffer) => ws.send(text),
    messages: () => of("MESSAGE"),
    /** Subjects of the events received, of one subscription or of all. */
    subjects: (id?: string) =>
      of("MESSAGE")
        .filter((frame) => id === undefined || frame.headers.subscription === id)
        .map((frame) => JSON.parse(frame.body.toString()).subject as string),
    next: (command: string, index = 0) => eventually(() => of(command)[index]),
    receipt: (id: string) => eventually(() => of("RECEIPT").find(({ headers: got }) => got["receipt-id"] === id)),
    /** The ERROR's code, once the socket is closed: `code close`. */
    async fault() {
      await eventually(() => closed !== null);
      const last = frames.at(-1);
      return last?.command === "ERROR" ? `${last.headers.code} ${closed}` : `no ERROR, ${closed}`;
    },
    cut: () => ws.terminate(),
  };
}

/** Connects with a key or token. */
export async function connectClient(
  url: string,
  credential: string,
  version = "1.2",
  more = "",
  options: Options = {},
) {
  const client = await openClient(url, options);
  client.send(`CONNECT\naccept-version:${version}\npasscode:${credential}\n${more}\n\0`);
  await client.next("CONNECTED");
  return client;
}

/** SUBSCRIBE with a receipt named as the subscription; gives the RECEIPT. */
export async function subscribe(client: StompClient, id: string, destination = "/topic/event", more = "") {
  client.send(`SUBSCRIBE\nid:${id}\ndestination:${destination}\nreceipt:${id}\n${more}\n\0`);
  return client.receipt(id);
}

function parse(data: Buffer, isBinary: boolean): Received {
  const end = data.indexOf("\n\n");
  const [command = "", ...lines] = data.subarray(0, end).toString().split("\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const decode = (text: string) =>
      text.replace(/\\([nrc\\])/g, (_, c: string) => ({ n: "\n", r: "\r", c: ":", "\\": "\\" })[c]!);
    headers[decode(line.slice(0, colon))] ??= decode(line.slice(colon + 1));
  }
  return { command, headers, body: data.subarray(end + 2, data.length - 1), isBinary };
}

/** A handshake that is refused: its status and problem. */
export async function refusedHandshake(url: string, options: Options = {}) {
  const { headers, protocols = [], path = "/v1/stomp", origin } = options;
  const ws = new WebSocket(url.replace(/^http/, "ws") + path, protocols, { headers, origin });
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: any }>((resolve, reject) => {
    ws.once("open", () => reject(new Error("The handshake was not refused.")));
    ws.once("error", () => {});
    ws.once("unexpected-response", (_request, response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => {
        const { statusCode = 0, headers: got } = response;
        resolve({ status: statusCode, headers: got, body: JSON.parse(Buffer.concat(parts).toString()) });
      });
    });
  });
}
