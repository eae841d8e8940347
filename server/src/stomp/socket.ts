/**
 * The thin shell of a session: octets of a WebSocket or of TCP in and out, the session's one timer, and its wishes handed
 * on to whoever serves them. Whatever is written in one turn of the event loop leaves in one system call.
 */
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import type { Input, Settings, Wish } from "./contract.ts";
import { refuse } from "./faults.ts";
import { type Beat, FrameReader, isText, type OutFrame, renderFrame } from "./frame.ts";
import { createOutbox, flushSoon } from "./outbox.ts";
import { type Run, singleFrames, stencilOf } from "./run.ts";
import { type Session, startSession, step, takesFrame } from "./session.ts";
import type { Out } from "./state.ts";

/** Octets that may wait in a socket before a session is given more of the log. */
const roomBytes = 65_536;
/** Octets of the client that may wait while its frames take effect. */
const heldBytes = 65_536;
const stuckMs = 30_000;
const pingMs = 30_000;
const pongMs = 60_000;
const cutMs = 5_000;
const lookMs = 5_000;

/** One way to a client. */
type Line = {
  socket: Socket;
  /** Whether frames may still be sent. */
  isOpen(): boolean;
  /** Messages of WebSocket, or a bare stream of octets. */
  isWebSocket: boolean;
  pause(): void;
  resume(): void;
  /** Says goodbye once all is flushed. */
  close(code: number): void;
  cut(): void;
  /** Null where the transport has none. */
  ping: (() => void) | null;
};

type Served = Exclude<Wish, { kind: "wakeAt" | "hangUp" }>;
/** Carries out wishes; called in their order. */
export type Server = {
  serve(wish: Served): void;
  /** The session is over: all that it holds is to be given back. `fault`: why, where it failed. */
  ended(fault: string | null): void;
};

export type Connection = {
  give(input: Input): void;
  hasRoom(): boolean;
  /** Resolves when more may be written to the client; at once, as a rule. */
  room(): Promise<void>;
  isOpen(): boolean;
  /** The version of STOMP that CONNECT agreed on. */
  version(): string | null;
  /** Since something was heard of the client. */
  silentMs(): number;
};

type Parts = {
  settings: Settings;
  preLoginBytes: number;
  /** Octets that may wait for the client to read them; above it, its frames are taken later. */
  bufferBytes: number;
  serve(connection: Connection): Server;
  /** An error that nobody expected. */
  failed(error: unknown): void;
};

/** ws closes by itself, with 1009 and no reason, when a message is too long: the client is told why before. */
export class ClientSocket extends WebSocket {
  override close(code?: number, reason?: string | Buffer): void {
    if (code === 1009 && reason === undefined) this.emit("long");
    super.close(code, reason);
  }
}

export function serveWebSocket(ws: WebSocket, socket: Socket, parts: Parts): Connection {
  const line: Line = {
    socket,
    isOpen: () => ws.readyState === ws.OPEN,
    isWebSocket: true,
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    close: (code) => ws.close(code),
    cut: () => ws.terminate(),
    ping: () => ws.ping(),
  };
  const { connection, receive, gone, answered } = open(line, parts);
  ws.on("message", (data: Buffer, isBinary: boolean) => receive(data, !isBinary));
  ws.on("pong", answered);
  ws.on("close", gone);
  ws.on("long", () => connection.give({ kind: "end", refusal: refuse("limit_exceeded", "A message is too long.") }));
  // What breaks the socket closes it too.
  ws.on("error", () => {});
  return connection;
}

export function serveTcp(socket: Socket, parts: Parts): Connection {
  const line: Line = {
    socket,
    isOpen: () => socket.writable,
    isWebSocket: false,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => void socket.end(),
    cut: () => void socket.destroy(),
    ping: null,
  };
  const { connection, receive, gone } = open(line, parts);
  socket.setNoDelay(true);
  socket.on("data", (data: Buffer) => receive(data, false));
  socket.on("close", gone);
  socket.on("end", () => socket.end());
  socket.on("error", () => {});
  return connection;
}

const nowMs = () => performance.now();

/** What is done for each connection every few seconds: one timer for all. */
const looks = new Set<() => void>();
let looking: NodeJS.Timeout | undefined;
function lookRegularly(look: () => void): void {
  looks.add(look);
  looking ??= setInterval(() => {
    for (const each of looks) each();
  }, lookMs);
}
function lookNoLonger(look: () => void): void {
  looks.delete(look);
  if (looks.size > 0) return;
  clearInterval(looking);
  looking = undefined;
}

function open(line: Line, parts: Parts) {
  const reader = new FrameReader(parts.preLoginBytes);
  const began = startSession(parts.settings, nowMs());
  let state: Session = began.state;
  let timer: NodeJS.Timeout | undefined;
  let cutTimer: NodeJS.Timeout | undefined;
  let asText = false;
  let first = true;
  let isClosed = false;
  let isPaused = false;
  let isDraining = false;
  const outbox = createOutbox(line.isWebSocket);
  let leftAt = nowMs();
  let heardAt = nowMs();
  let answeredAt = nowMs();
  let pingedAt = nowMs();
  const forRoom: (() => void)[] = [];

  const connection: Connection = {
    give,
    hasRoom,
    room: () => (hasRoom() ? Promise.resolve() : new Promise((resolve) => forRoom.push(resolve))),
    isOpen: () => state.phase !== "ended",
    version: () => state.greeting?.version ?? null,
    silentMs: () => nowMs() - heardAt,
  };
  const server = parts.serve(connection);

  function waitingBytes(): number {
    return isClosed ? 0 : outbox.bytes() + line.socket.writableLength;
  }

  function hasRoom(): boolean {
    return waitingBytes() < roomBytes || state.phase === "ended";
  }

  function makeRoom(): void {
    if (hasRoom()) for (const resume of forRoom.splice(0)) resume();
  }

  function write(item: Out): void {
    if (isClosed) return;
    if (outbox.bytes() === 0) {
      flushSoon(flush);
      if (line.socket.writableLength === 0) leftAt = nowMs();
    }
    if (item.kind === "run") addRun(item);
    else addFrame(item);
  }

  function addFrame(frame: OutFrame | Beat): void {
    outbox.add(renderFrame(frame, state.version), asText && isText(frame));
  }

  function addRun(run: Run): void {
    const stencil = stencilOf(run, { version: state.version, isWebSocket: line.isWebSocket, asText });
    if (stencil === null) for (const frame of singleFrames(run)) addFrame(frame);
    else outbox.addRun(stencil, run.first);
  }

  function flush(): void {
    if (outbox.bytes() === 0) return;
    if (!isClosed && line.isOpen()) outbox.send(line.socket, written);
    else {
      outbox.clear();
      if (forRoom.length > 0) makeRoom();
    }
  }

  function written(): void {
    leftAt = nowMs();
    if (forRoom.length > 0) makeRoom();
    if (isPaused) readOn();
  }

  function give(input: Input): void {
    if (state.phase === "ended") return;
    try {
      take(step(state, input, nowMs()));
      // What waits of the client's frames waits for nothing that events bring.
      if (input.kind !== "events") drain();
    } catch (error) {
      parts.failed(error);
      if ((state.phase as string) !== "ended")
        take(step(state, { kind: "end", refusal: refuse("internal_error") }, nowMs()));
    }
  }

  function take(turn: ReturnType<typeof step>): void {
    state = turn.state;
    for (const item of turn.out) write(item);
    reader.version = state.version;
    for (const wish of turn.wishes) {
      if (wish.kind === "wakeAt") wakeAt(wish.at);
      else if (wish.kind === "hangUp") hangUp(wish.closeCode, wish.fault);
      else server.serve(wish);
    }
  }

  /** Takes the client's frames one after another; a wish that is answered at once may call this again from within. */
  function drain(): void {
    if (isDraining) return;
    isDraining = true;
    try {
      while (takesFrame(state, nowMs()) && waitingBytes() < parts.bufferBytes) {
        const item = reader.next();
        if (item === null) break;
        take(step(state, item, nowMs()));
      }
    } finally {
      isDraining = false;
    }
    const isFull = reader.heldBytes > heldBytes || (waitingBytes() >= parts.bufferBytes && state.phase !== "ended");
    if (isFull === isPaused || isClosed) return;
    isPaused = isFull;
    if (isFull) line.pause();
    else line.resume();
  }

  function wakeAt(at: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => give({ kind: "clock" }), Math.min(2 ** 31 - 1, Math.max(0, Math.ceil(at - nowMs()))));
  }

  function hangUp(code: number | null, fault: string | null): void {
    clearTimeout(timer);
    lookNoLonger(look);
    server.ended(fault);
    makeRoom();
    if (isClosed) return;
    // A paused socket would not hear the other side's goodbye.
    line.resume();
    flush();
    if (code !== null) line.close(code);
    cutTimer = setTimeout(line.cut, cutMs);
  }

  function receive(bytes: Buffer, isTextMessage: boolean): void {
    if (state.phase === "ended") return;
    if (first) {
      first = false;
      asText = isTextMessage;
    }
    heardAt = nowMs();
    reader.push(bytes);
    readOn();
  }

  /** Takes what the client has sent, as far as it may be taken now. */
  function readOn(): void {
    try {
      drain();
    } catch (error) {
      parts.failed(error);
      give({ kind: "end", refusal: refuse("internal_error") });
    }
  }

  function gone(): void {
    isClosed = true;
    clearTimeout(cutTimer);
    outbox.clear();
    give({ kind: "gone" });
    makeRoom();
  }

  function look(): void {
    const now = nowMs();
    if (waitingBytes() > 0 && now - leftAt > stuckMs) give({ kind: "end", refusal: refuse("slow_consumer") });
    if (line.ping === null) return;
    if (now - Math.max(answeredAt, heardAt) > pongMs && pingedAt > answeredAt) line.cut();
    else if (now - pingedAt >= pingMs) {
      pingedAt = now;
      line.ping();
    }
  }

  lookRegularly(look);
  take(began);
  return {
    connection,
    receive,
    gone,
    answered() {
      answeredAt = nowMs();
    },
  };
}
