/**
 * STOMP 1.0, 1.1 and 1.2 as octets: bytes in, frames out, and back. No I/O, no clock. Every judgement depends on the
 * octets and their place in the stream alone, never on how they were cut into chunks.
 */
import { isUtf8 } from "node:buffer";

export type Version = "1.0" | "1.1" | "1.2";
export type Header = readonly [name: string, value: string];

/** A frame of the client. `headers` are decoded; of a repeated header the first counts. `body` is the frame's own copy. */
export type Frame = { kind: "frame"; command: string; headers: ReadonlyMap<string, string>; body: Uint8Array };
/** A sign of life: octets that completed no frame. */
export type Beat = { kind: "beat" };
/** The end of what can be read; `receipt` is the one that the faulty frame had asked for so far. */
export type Fault = {
  kind: "fault";
  code: "frame_malformed" | "limit_exceeded";
  detail: string;
  receipt: string | null;
};

/** Octets of one header line or command without its LF, and of all lines of a frame with their ends. */
export const maxLineBytes = 8 * 1024;
export const maxHeadBytes = 64 * 1024;
export const maxHeaders = 100;
export const maxBodyBytes = 1024 * 1024;

const nul = 0x00;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const nothing = Buffer.alloc(0);
const beat: Beat = { kind: "beat" };

/** What a stage of reading came to: it is through, it needs more octets, or the frame is faulty. */
type Outcome = "through" | "more" | Fault;

/**
 * Takes octets in any chunks and gives frames one at a time. `version` is null until CONNECTED; the session's version is
 * to be set before the next call of `next`. After a fault nothing is read or kept any more.
 */
export class FrameReader {
  version: Version | null = null;
  /** Octets looked at or moved so far; stays in proportion to what was pushed, however small the chunks. */
  workBytes = 0;
  #preLoginLeft: number;
  #stage: "between" | "head" | "body" = "between";
  #heardSince = false;
  #ended = false;
  /** Unread octets are `#bytes[#start..#end)`; those before `#scan` are known to hold no end of what is being read. */
  #bytes = nothing;
  #start = 0;
  #end = 0;
  #scan = 0;
  /** All octets of the line so far, or'ed: tells whether it is ASCII. */
  #lineOr = 0;
  #command: string | null = null;
  #headers = new Map<string, string>();
  #headerCount = 0;
  #headLeft = maxHeadBytes;
  #bodyLength: number | null = null;

  /** `preLoginBytes`: what all octets together may come to while `version` is null. */
  constructor(preLoginBytes: number) {
    this.#preLoginLeft = preLoginBytes;
  }

  /** Octets that were pushed and not read. Small as long as `next` is called until it gives null. */
  get heldBytes(): number {
    return this.#end - this.#start;
  }

  push(bytes: Uint8Array): void {
    if (this.#ended || bytes.length === 0) return;
    this.#heardSince = true;
    if (bytes.length > this.#bytes.length - this.#end) this.#makeRoom(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    this.workBytes += bytes.length;
  }

  /** The next frame, the fault that ends the stream, a beat if octets came since the last item, or null: push more. */
  next(): Frame | Beat | Fault | null {
    if (this.#ended) return null;
    const item = this.#read();
    if (this.#start === this.#end) this.#release();
    if (item === null && !this.#heardSince) return null;
    this.#heardSince = false;
    if (item?.kind === "fault") {
      this.#ended = true;
      this.#release();
      this.#headers = new Map();
    }
    return item ?? beat;
  }

  /** At least doubles what is held, so that every octet is moved a bounded number of times on average. */
  #makeRoom(count: number): void {
    const held = this.heldBytes;
    const roomier = Buffer.allocUnsafe(Math.max(held + count, held * 2));
    this.#bytes.copy(roomier, 0, this.#start, this.#end);
    this.workBytes += held;
    this.#bytes = roomier;
    this.#scan -= this.#start;
    this.#start = 0;
    this.#end = held;
  }

  #release(): void {
    this.#bytes = nothing;
    this.#start = 0;
    this.#end = 0;
    this.#scan = 0;
  }

  /** Octets from `#start` on that may still be looked at. */
  get #left(): number {
    return this.version === null ? this.#preLoginLeft : Number.POSITIVE_INFINITY;
  }

  #consume(count: number): void {
    this.#start += count;
    this.#scan = this.#start;
    this.workBytes += count;
    if (this.version === null) this.#preLoginLeft -= count;
  }

  #read(): Frame | Fault | null {
    let outcome: Outcome = "through";
    if (this.#stage === "between") outcome = this.#skipBetween();
    if (outcome === "through" && this.#stage === "head") outcome = this.#readHead();
    if (outcome === "through") return this.#readBody();
    return outcome === "more" ? null : outcome;
  }

  #fault(code: Fault["code"], detail: string): Fault {
    const asked = this.#stage !== "between" && this.#command !== "CONNECT" && this.#command !== "STOMP";
    return { kind: "fault", code, detail, receipt: asked ? (this.#headers.get("receipt") ?? null) : null };
  }

  #skipBetween(): Outcome {
    while (this.#start < this.#end) {
      const octet = this.#bytes[this.#start];
      let skipped = 1;
      if (octet === carriageReturn) {
        if (this.#start + 1 === this.#end) return "more";
        skipped = this.#bytes[this.#start + 1] === lineFeed ? 2 : 0;
      } else if (octet !== lineFeed && octet !== nul) skipped = 0;
      if (Math.max(skipped, 1) > this.#left) return this.#fault("limit_exceeded", "Too many octets before CONNECTED.");
      if (skipped === 0) {
        this.#beginFrame();
        return "through";
      }
      this.#consume(skipped);
    }
    return "more";
  }

  #beginFrame(): void {
    this.#stage = "head";
    this.#scan = this.#start;
    this.#lineOr = 0;
    this.#command = null;
    this.#headers = new Map();
    this.#headerCount = 0;
    this.#headLeft = maxHeadBytes;
    this.#bodyLength = null;
  }

  #readHead(): Outcome {
    for (;;) {
      const found = this.#findLineEnd();
      if (typeof found !== "number") return found;
      const line = this.#takeLine(found);
      if (line === null) return this.#fault("frame_malformed", "A line is not UTF-8.");
      if (this.#command === null) this.#command = line;
      else if (line === "") return this.#endHead();
      else {
        const fault = this.#takeHeader(line);
        if (fault !== null) return fault;
      }
    }
  }

  /** Where the line's LF is. LF, NUL and the limit are judged by which comes first. */
  #findLineEnd(): number | "more" | Fault {
    const allowed = Math.min(maxLineBytes, this.#headLeft - 1, this.#left - 1);
    const bytes = this.#bytes;
    const stop = Math.min(this.#end, this.#start + allowed + 1);
    let at = this.#scan;
    let octet = 1;
    let or = this.#lineOr;
    for (; at < stop; at++) {
      octet = bytes[at]!;
      if (octet === lineFeed || octet === nul) break;
      or |= octet;
    }
    this.workBytes += at - this.#scan;
    this.#scan = at;
    this.#lineOr = or;
    if (at < stop)
      return octet === lineFeed ? at : this.#fault("frame_malformed", "A NUL stands before the blank line.");
    if (this.heldBytes <= allowed) return "more";
    return this.#fault("limit_exceeded", "The lines of the frame are too long.");
  }

  /** The line that ends before `end`, without the CR that versions drop; null: not UTF-8. */
  #takeLine(end: number): string | null {
    const isAscii = this.#lineOr < 0x80;
    let last = end;
    const dropsReturn = this.version === null || this.version === "1.2";
    if (dropsReturn && last > this.#start && this.#bytes[last - 1] === carriageReturn) last--;
    if (!isAscii && !isUtf8(this.#bytes.subarray(this.#start, last))) return null;
    const line = this.#bytes.toString(isAscii ? "latin1" : "utf8", this.#start, last);
    this.#headLeft -= end + 1 - this.#start;
    this.#consume(end + 1 - this.#start);
    this.#lineOr = 0;
    return line;
  }

  #takeHeader(line: string): Fault | null {
    this.#headerCount++;
    if (this.#headerCount > maxHeaders) return this.#fault("limit_exceeded", "The frame has too many headers.");
    const colon = line.indexOf(":");
    if (colon < 0) return this.#fault("frame_malformed", "A header line has no colon.");
    const name = decode(line.slice(0, colon), this.version);
    const value = decode(line.slice(colon + 1), this.version);
    if (name === null || value === null)
      return this.#fault("frame_malformed", "A header has an escape that the version does not know.");
    if (name === "") return this.#fault("frame_malformed", "A header has no name.");
    if (!this.#headers.has(name)) this.#headers.set(name, value);
    return null;
  }

  /** The length is judged here, before any octet of the body has come. */
  #endHead(): Outcome {
    const length = this.#headers.get("content-length");
    if (length !== undefined) {
      if (!/^[0-9]{1,10}$/.test(length))
        return this.#fault("frame_malformed", "content-length is no number of octets.");
      this.#bodyLength = Number(length);
      if (this.#bodyLength > Math.min(maxBodyBytes, this.#left - 1))
        return this.#fault("limit_exceeded", "The body is too long.");
    }
    this.#stage = "body";
    return "through";
  }

  #readBody(): Frame | Fault | null {
    let length = this.#bodyLength;
    if (length === null) {
      const allowed = Math.min(maxBodyBytes, this.#left - 1);
      const unseen = this.#bytes.subarray(this.#scan, Math.min(this.#end, this.#start + allowed + 1));
      const found = unseen.indexOf(nul);
      this.workBytes += found < 0 ? unseen.length : found;
      if (found < 0) {
        this.#scan += unseen.length;
        return this.heldBytes > allowed ? this.#fault("limit_exceeded", "The body is too long.") : null;
      }
      length = this.#scan + found - this.#start;
    }
    if (this.heldBytes <= length) return null;
    if (this.#bytes[this.#start + length] !== nul)
      return this.#fault("frame_malformed", "No NUL stands where content-length ends the body.");
    const body = length === 0 ? nothing : Buffer.from(this.#bytes.subarray(this.#start, this.#start + length));
    this.#consume(length + 1);
    this.#stage = "between";
    const frame: Frame = { kind: "frame", command: this.#command!, headers: this.#headers, body };
    this.#headers = new Map();
    return frame;
  }
}

/** A name or value as it was meant; null: an escape that the version does not list. CONNECT comes with version null. */
function decode(text: string, version: Version | null): string | null {
  if (version === null) return text;
  if (version === "1.0") return text.replace(/^[ \t]+|[ \t]+$/g, "");
  let at = text.indexOf("\\");
  let decoded = "";
  let from = 0;
  while (at >= 0) {
    const plain = escapes.get(text[at + 1] ?? "");
    if (plain === undefined || (plain === "\r" && version === "1.1")) return null;
    decoded += text.slice(from, at) + plain;
    from = at + 2;
    at = text.indexOf("\\", from);
  }
  return decoded + text.slice(from);
}

const escapes = new Map([
  ["n", "\n"],
  ["c", ":"],
  ["\\", "\\"],
  ["r", "\r"],
]);

/**
 * What all receivers of one message share: headers and body, rendered once per version of STOMP and then only copied.
 * Make it once per event and version of the API with `share`.
 */
export type Shared = {
  readonly headers: readonly Header[];
  readonly body: Uint8Array;
  /** The body is valid UTF-8, so the frame may leave as a WebSocket text message. */
  readonly isText: boolean;
  readonly rendered: Map<Version | null, Buffer>;
};

/** A frame to the client: its own headers, then what it shares with others. `content-length` is the writer's. */
export type OutFrame = { kind: "frame"; command: string; headers: readonly Header[]; rest: Shared | null };

export function share(headers: readonly Header[], body: Uint8Array): Shared {
  return { headers, body, isText: isUtf8(body), rendered: new Map() };
}

/** Whether the frame may be sent as a WebSocket text message. */
export function isText(frame: OutFrame | Beat): boolean {
  return frame.kind === "beat" || frame.rest === null || frame.rest.isText;
}

const beatText = "\n";

/**
 * A frame's octets in two parts: text of its own, and what it shares with others. Version null: before one was agreed.
 * Whoever writes to many copies each part once.
 */
export function renderFrame(frame: OutFrame | Beat, version: Version | null): { own: string; shared: Buffer | null } {
  if (frame.kind === "beat") return { own: beatText, shared: null };
  const escaping = frame.command === "CONNECTED" ? null : version;
  let own = frame.command + "\n";
  for (const [name, value] of frame.headers) own += encode(name, escaping, true) + ":" + encode(value, escaping) + "\n";
  if (frame.rest === null) return { own: own + "\n\0", shared: null };
  return { own, shared: renderShared(frame.rest, escaping) };
}

/** The octets of a frame in one Buffer. */
export function writeFrame(frame: OutFrame | Beat, version: Version | null): Uint8Array {
  const { own, shared } = renderFrame(frame, version);
  return shared === null ? Buffer.from(own) : Buffer.concat([Buffer.from(own), shared]);
}

function renderShared(shared: Shared, version: Version | null): Buffer {
  const known = shared.rendered.get(version);
  if (known !== undefined) return known;
  let head = "";
  for (const [name, value] of shared.headers) head += encode(name, version, true) + ":" + encode(value, version) + "\n";
  head += `content-length:${shared.body.length}\n\n`;
  const bytes = Buffer.concat([Buffer.from(head), shared.body, Buffer.from([nul])]);
  shared.rendered.set(version, bytes);
  return bytes;
}

function encode(text: string, version: Version | null, isName = false): string {
  if (!/[\\\n\r:]/.test(text)) return text;
  if (version === null || version === "1.0") return text.replace(isName ? /[\n:]/g : /\n/g, " ");
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(":", "\\c");
  return version === "1.2" ? escaped.replaceAll("\r", "\\r") : escaped;
}
