/**
 * What a connection writes in one turn of the event loop, put together in one piece and written by one call. Most of it
 * is taken by the system at once: the memory that it was put together in then serves the next connection.
 */
import type { renderFrame } from "./frame.ts";
import { headBytes, putHead } from "./message-head.ts";
import { putNumbers, type Stencil } from "./run.ts";

/** Connections that have something to write when this turn of the event loop is over. */
let flushes: (() => void)[] = [];
export function flushSoon(flush: () => void): void {
  if (flushes.push(flush) === 1)
    setImmediate(() => {
      const due = flushes;
      flushes = [];
      for (const each of due) each();
    });
}

type Rendered = ReturnType<typeof renderFrame>;
type Message = Rendered & { bytes: number; asText: boolean };
type Numbered = { stencil: Stencil; first: number };

const slabBytes = 262_144;
let slab = Buffer.allocUnsafeSlow(slabBytes);
/** Up to here the slab holds what still waits in some socket. */
let slabUsed = 0;

function takePiece(bytes: number): Buffer {
  if (bytes > slabBytes) return Buffer.allocUnsafeSlow(bytes);
  if (slabUsed + bytes > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    slabUsed = 0;
  }
  return slab.subarray(slabUsed, slabUsed + bytes);
}

/** What it needs of a socket: `writableLength` is what the system has not taken. */
type Sink = { write(bytes: Uint8Array, written: () => void): unknown; readonly writableLength: number };

export type Outbox = {
  /** Octets that wait for the next `send`. */
  bytes(): number;
  add(frame: Rendered, asText: boolean): void;
  /** A run, by its stencil, numbered from `first` on. */
  addRun(stencil: Stencil, first: number): void;
  /** Writes all; `written` is called when it has left. */
  send(socket: Sink, written: () => void): void;
  clear(): void;
};

/**
 * With `isWebSocket` each frame is a message of its own. They are written beside `ws`, which would make two writes of
 * each: without compression it holds nothing back, so that what it writes itself comes between whole messages.
 */
export function createOutbox(isWebSocket: boolean): Outbox {
  let messages: (Message | Numbered)[] = [];
  let bytes = 0;
  function clear(): void {
    messages = [];
    bytes = 0;
  }
  return {
    bytes: () => bytes,
    add({ own, shared }, asText) {
      const length = Buffer.byteLength(own) + (shared?.length ?? 0);
      messages.push({ own, shared, bytes: length, asText });
      bytes += length + (isWebSocket ? headBytes(length) : 0);
    },
    addRun(stencil, first) {
      messages.push({ stencil, first });
      bytes += stencil.octets.length;
    },
    send(socket, written) {
      const [only] = messages;
      if (messages.length === 1 && "stencil" in only!) {
        clear();
        return sendRun(only, socket, written);
      }
      const piece = takePiece(bytes);
      let place = 0;
      for (const message of messages) {
        if ("stencil" in message) {
          const { stencil, first } = message;
          piece.set(stencil.octets, place);
          putNumbers(piece, place, stencil, first);
          place += stencil.octets.length;
          continue;
        }
        const { own, shared, bytes: length, asText } = message;
        if (isWebSocket) place = putHead(piece, place, length, asText);
        place += piece.write(own, place);
        if (shared === null) continue;
        piece.set(shared, place);
        place += shared.length;
      }
      clear();
      socket.write(piece, written);
      // What the system did not take at once is still read from here.
      if (socket.writableLength > 0 && piece.buffer === slab.buffer) slabUsed += piece.length;
    },
    clear,
  };
}

/** Straight from the stencil; what the system did not take at once stays as it is, and others get a copy. */
function sendRun({ stencil, first }: Numbered, socket: Sink, written: () => void): void {
  putNumbers(stencil.octets, 0, stencil, first);
  socket.write(stencil.octets, written);
  if (socket.writableLength > 0) stencil.octets = Buffer.from(stencil.octets);
}
