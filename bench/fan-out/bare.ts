/**
 * The yardstick: a server on bare `ws` that sends a frame to all its sockets when it is called. Started with `--serve`
 * this file is that server.
 */
import { fork } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export type Bare = {
  port: number;
  pid: number;
  tell(frames: number): Promise<void>;
  /** When it began to send what it was last told, in milliseconds since 1970. */
  beganAt(): Promise<number>;
  stop(): Promise<void>;
};

export async function startBare(frame: string): Promise<Bare> {
  const child = fork(new URL(import.meta.url).pathname, ["--serve", JSON.stringify(frame)]);
  const port = await new Promise<number>((resolve) => child.once("message", (at) => resolve(Number(at))));
  let beganAt = Number.NaN;
  return {
    port,
    pid: child.pid!,
    async tell(frames) {
      beganAt = Number(await (await fetch(`http://127.0.0.1:${port}/${frames}`)).text());
    },
    beganAt: async () => beganAt,
    async stop() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill();
      await gone;
    },
  };
}

/** What it can do best: the frame made once for all sockets, and those of one call in one system call a socket. */
function serve(text: string): void {
  const raw = new Map<WebSocket, Socket>();
  const frame = Buffer.from(text);
  const http = createServer((request, reply) => {
    const count = Number(request.url!.slice(1));
    const beganAt = performance.timeOrigin + performance.now();
    for (const [client, socket] of raw) {
      socket.cork();
      for (let n = 0; n < count; n++) client.send(frame, { binary: false });
      socket.uncork();
    }
    reply.end(String(beganAt));
  });
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  http.on("upgrade", (request, socket: Socket, head) =>
    sockets.handleUpgrade(request, socket, head, (client) => {
      raw.set(client, socket);
      client.on("close", () => raw.delete(client));
    }),
  );
  process.on("disconnect", () => process.exit());
  http.listen(0, "127.0.0.1", () => process.send!((http.address() as AddressInfo).port));
}

if (process.argv[2] === "--serve") serve(JSON.parse(process.argv[3]!));
