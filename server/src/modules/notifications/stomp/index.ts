/** STOMP over WebSocket (notifications, part B): the address, and what all sessions of a process share. */
import type { IncomingMessage } from "node:http";
import { createServer, type Socket } from "node:net";
import type { FastifyInstance, FastifyReply } from "fastify";
import { LRUCache } from "lru-cache";
import { WebSocketServer } from "ws";
import { countingKey } from "#kernel/address";
import { unexpected } from "#kernel/answer";
import { newId } from "#kernel/ids";
import type { Kernel } from "#kernel/kernel";
import { Problem, refuse, versionUnknown } from "#kernel/problem";
import type { Settings } from "../../../stomp/contract.ts";
import { compileChatPatterns } from "../../../stomp/destination.ts";
import { maxBodyBytes } from "../../../stomp/frame.ts";
import { type Connection, serveTcp, serveWebSocket } from "../../../stomp/socket.ts";
import { hearProcesses } from "./channel.ts";
import { createChat } from "./chat.ts";
import { chooseProtocol, judgeHandshake, refuseHandshake, servedVersion, upgradeRequired } from "./handshake.ts";
import { createQueues } from "./queue.ts";
import { lookRound } from "./registry.ts";
import { createRender } from "./render.ts";
import { type Handshake, type Member, type Shared, serveSession } from "./session.ts";
import { standingOf } from "./standing.ts";
import { createTogether } from "./tail.ts";

const maxMessageBytes = maxBodyBytes + 64 * 1024;
const checkMs = 1_000;
const lookMs = 10_000;

/** Serves `/{label}/stomp`, the second address of the chat profile, and TCP where the settings say so. */
export async function mountStomp(http: FastifyInstance, kernel: Kernel): Promise<void> {
  const { stomp } = kernel.settings;
  const chatPath = stomp.chat?.path ?? null;
  const bars = new LRUCache<string, number>({ max: 10_000 });
  const connections = new Set<Connection>();
  const members = new Map<string, Member>();
  const render = createRender(kernel);
  const queues = createQueues(kernel, render);
  const shared: Shared = {
    kernel,
    render,
    together: createTogether(kernel),
    queues,
    chat: stomp.chat && createChat(stomp.chat),
    members,
    barAddress: (address, seconds) => void bars.set(countingKey(address), kernel.now().getTime() + seconds * 1_000),
  };
  const secondsLeft = (address: string) => Math.ceil(((bars.get(address) ?? 0) - kernel.now().getTime()) / 1_000);
  const chatPatterns = stomp.chat && compileChatPatterns(stomp.chat.patterns);

  const partsOf = (handshake: Handshake) => {
    const settings: Settings = {
      requestId: handshake.requestId,
      server: `Demarc/${kernel.settings.release}`,
      loginMs: stomp.loginSeconds * 1_000,
      heartBeat: stomp.heartBeat,
      maxDeliveries: stomp.maxDeliveries,
      chat: chatPatterns,
    };
    return {
      settings,
      preLoginBytes: stomp.preLoginBytes,
      failed: (error: unknown) =>
        kernel.log.error({ err: error, requestId: handshake.requestId }, "a STOMP session failed"),
      serve(connection: Connection) {
        connections.add(connection);
        const server = serveSession(shared, handshake, connection);
        return {
          serve: server.serve,
          ended(fault: string | null) {
            connections.delete(connection);
            server.ended(fault);
          },
        };
      },
    };
  };

  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handleProtocols: chooseProtocol,
    clientTracking: false,
  });
  const labelOf = (request: IncomingMessage): string | null => {
    const path = (request.url ?? "").split("?", 1)[0]!;
    if (path === chatPath) return kernel.versions.newest.label;
    return /^\/([^/]+)\/stomp$/.exec(path)?.[1] ?? null;
  };

  async function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const startedMs = performance.now();
    socket.on("error", () => socket.destroy());
    let handshake: Handshake;
    try {
      handshake = await judgeHandshake(kernel, request, labelOf(request)!, { secondsLeft });
    } catch (error) {
      if (!(error instanceof Problem)) kernel.log.error({ err: error }, "unexpected error");
      const problem = error instanceof Problem ? error : unexpected();
      const requestId = newId("rid");
      record(request, requestId, problem.kind.status, problem.kind.code, startedMs);
      const named = kernel.versions.resolve(labelOf(request)!);
      const about = named && problem.kind !== versionUnknown ? aboutVersion(kernel, named.version) : {};
      return refuseHandshake(socket, request, problem, { "x-request-id": requestId, ...about });
    }
    const { version, requestId } = handshake;
    const headers = { "x-request-id": requestId, ...aboutVersion(kernel, version) };
    sockets.once("headers", (lines: string[]) => {
      for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    });
    sockets.handleUpgrade(request, socket, head, (ws) => {
      record(request, requestId, 101, null, startedMs);
      serveWebSocket(ws, socket, partsOf(handshake));
      if (kernel.events.closing.aborted) shutDown();
    });
    sockets.removeAllListeners("headers");
  }

  function record(request: IncomingMessage, requestId: string, status: number, code: string | null, startedMs: number) {
    kernel.activity.record({
      at: kernel.now(),
      requestId,
      tenantId: "",
      actingTenantId: "",
      actor: null,
      via: null,
      service: "notifications",
      version: kernel.versions.resolve(labelOf(request) ?? "")?.version.label ?? null,
      operationId: "connectStomp",
      method: "GET",
      route: "/{label}/stomp",
      target: {},
      status,
      code,
      reason: null,
      durationMs: Math.round((performance.now() - startedMs) * 1000) / 1000,
      address: request.socket.remoteAddress ?? "",
      userAgent: request.headers["user-agent"]?.slice(0, 200) ?? null,
      bytesIn: 0,
      bytesOut: 0,
    });
  }

  // Other upgrades that clients offer of themselves (h2c) are left alone, and answered as what they ask for.
  const isOurs = (request: IncomingMessage) =>
    labelOf(request) !== null && request.headers.upgrade?.toLowerCase() === "websocket";
  Object.assign(http.server, { shouldUpgradeCallback: isOurs });
  http.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!isOurs(request)) return void socket.destroy();
    kernel.aside(upgrade(request, socket, head));
  });
  const plain = async (label: string, reply: FastifyReply) => {
    const named = kernel.versions.resolve(label);
    if (named) reply.headers(aboutVersion(kernel, named.version));
    servedVersion(kernel, label);
    throw refuse(upgradeRequired, { headers: { upgrade: "websocket", connection: "upgrade" } });
  };
  http.get("/:label/stomp", (request, reply) => plain((request.params as { label: string }).label, reply));
  if (chatPath !== null) http.get(chatPath, (_request, reply) => plain(kernel.versions.newest.label, reply));

  const tcp = stomp.tcpPort === 0 ? null : listenOnLoopback(stomp.tcpPort);
  function listenOnLoopback(port: number) {
    const { newest } = kernel.versions;
    const server = createServer((socket) => {
      const requestId = newId("rid");
      const address = socket.remoteAddress ?? "";
      if (secondsLeft(countingKey(address)) > 0) return void socket.destroy();
      const about = { label: newest.label, version: newest, userAgent: null, credential: null, isCharged: false };
      serveTcp(socket, partsOf({ requestId, address, ...about }));
    });
    return new Promise<typeof server>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve(server));
    });
  }
  const listening = await tcp;

  let checking: NodeJS.Timeout | undefined;
  kernel.processes.onForget(() => {
    if (kernel.events.closing.aborted) return;
    checking ??= setTimeout(() => {
      checking = undefined;
      kernel.aside(checkStandings(kernel, members, true));
    }, 20);
  });
  const checks = setInterval(() => kernel.aside(checkStandings(kernel, members, false)), checkMs);
  const looks = setInterval(look, lookMs);
  checks.unref();
  looks.unref();

  function look(): void {
    const now = kernel.now().getTime();
    const seen = new Map([...members].map(([id, { connection }]) => [id, new Date(now - connection.silentMs())]));
    const round = lookRound(kernel, seen).then((known) => {
      for (const id of seen.keys()) if (!known.has(id)) end(id, "session_ended");
    });
    kernel.aside(round);
  }

  function end(sessionId: string, code: "session_ended" | "taken_over"): void {
    members.get(sessionId)?.connection.give({ kind: "end", refusal: { code } });
  }

  await hearProcesses(kernel.listener, (told) => {
    if (told === null) {
      queues.poke(null);
      if (members.size > 0) look();
    } else if (told.kind === "ready") queues.poke(told.queueId);
    else end(told.sessionId, told.kind === "taken" ? "taken_over" : "session_ended");
  });

  function shutDown(): void {
    clearTimeout(checking);
    clearInterval(checks);
    clearInterval(looks);
    listening?.close();
    for (const connection of [...connections]) connection.give({ kind: "shutdown" });
  }
  kernel.events.closing.addEventListener("abort", shutDown, { once: true });
}

/** What every reply of a version says of it. */
function aboutVersion(kernel: Kernel, version: Handshake["version"]): Record<string, string> {
  return { "api-version": version.label, ...kernel.versions.headers(version, "/stomp") };
}

/** Ends the sessions whose credentials are no longer good; each credential is asked for once. */
async function checkStandings(kernel: Kernel, members: ReadonlyMap<string, Member>, haveRightsChanged: boolean) {
  const known = new Map<string, ReturnType<typeof standingOf>>();
  for (const { bearing, connection, feeds } of [...members.values()]) {
    const key = `${bearing.credential} ${bearing.address} ${bearing.label}`;
    const asked = known.get(key) ?? standingOf(kernel, bearing);
    known.set(key, asked);
    // A database that is away takes nothing from anybody.
    const standing = await asked.catch(() => null);
    if (standing === null || !connection.isOpen()) continue;
    if (!standing.ok) {
      connection.give({ kind: "end", refusal: { code: standing.hasExpired ? "token_expired" : "session_ended" } });
    } else if (haveRightsChanged) for (const feed of feeds()) feed.check();
  }
}
