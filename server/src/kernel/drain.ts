import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/**
 * Closes a server as soon as the calls under way are answered. Node leaves two kinds of connection open until they time
 * out: those that become idle after closing began, and those that have never sent anything, as browsers open them.
 */
export function prepareDrain(http: FastifyInstance): () => Promise<void> {
  const unused = new Set<Socket>();
  http.server.on("connection", (socket: Socket) => {
    unused.add(socket);
    socket.once("close", () => unused.delete(socket));
  });
  http.server.on("request", ({ socket }) => unused.delete(socket));
  return async () => {
    const sweep = setInterval(() => {
      http.server.closeIdleConnections();
      for (const socket of unused) if (socket.bytesRead === 0) socket.destroy();
    }, 50);
    await http.close();
    clearInterval(sweep);
  };
}
