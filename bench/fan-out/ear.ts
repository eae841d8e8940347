/** WebSocket clients that count messages and note when they came: the load must cost less than what it measures. */
import { connect } from "node:net";

/** Where to connect, and what to say there. */
export type Address = {
  port: number;
  path: string;
  headers: Record<string, string>;
  /** STOMP frames that are sent once the socket is open, and how many messages answer them. */
  hello: string[];
  answers: number;
};

/** The opcode (RFC 6455, section 5.5.2); who does not answer is cut after a minute. */
const ping = 9;

export type Ear = {
  /** Its place among those of its process. */
  index: number;
  /** Messages that it is still to hear. */
  expecting: number;
  send(text: string): void;
  end(): void;
};

// Read and looked through at once, so that one will do for all sockets.
const shared = Buffer.allocUnsafeSlow(1_048_576);

const errorMark = Buffer.from("ERROR\n");

/** Opens a socket. `onMessage`: the message's octets where it came in one piece, else an empty Buffer. */
export function openEar(at: Address, onMessage: (ear: Ear, octets: Buffer) => void): Promise<Ear> {
  return new Promise((resolve, reject) => {
    let isUp = false;
    let rest: Buffer = Buffer.alloc(0);
    /** Octets of the message under way that are still to come. */
    let missing = 0;
    let answers = 0;
    const socket = connect({ port: at.port, host: "127.0.0.1", onread: { buffer: shared, callback: read } });
    const ear: Ear = { index: 0, expecting: 0, send: (text) => void socket.write(maskedFrame(text)), end };
    socket.setNoDelay(true);
    socket.on("error", reject);
    socket.on("close", lost);
    const lines = Object.entries(at.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(
      `GET ${at.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v12.stomp\r\n${lines.join("")}\r\n`,
    );

    function read(count: number, buffer: Uint8Array): boolean {
      let bytes = Buffer.from(buffer.buffer, buffer.byteOffset, count);
      if (rest.length > 0) {
        bytes = Buffer.concat([rest, bytes]);
        rest = Buffer.alloc(0);
      }
      if (!isUp) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end < 0) return keep(bytes);
        const status = bytes.subarray(0, bytes.indexOf("\r\n")).toString();
        if (!status.includes(" 101 ")) reject(new Error(`The handshake answered ${status}`));
        isUp = true;
        for (const text of at.hello) ear.send(text);
        bytes = bytes.subarray(end + 4);
        if (at.answers === 0) resolve(ear);
      }
      return walk(bytes);
    }

    function walk(bytes: Buffer): boolean {
      let place = Math.min(missing, bytes.length);
      missing -= place;
      if (place > 0 && missing === 0) hear(bytes.subarray(0, 0));
      while (place < bytes.length) {
        const head = headBytes(bytes, place);
        if (place + head > bytes.length) return keep(bytes.subarray(place));
        const length = lengthAt(bytes, place);
        const isMessage = (bytes[place]! & 15) < 8 && length > 1;
        const from = place + head;
        place = from + length;
        if (isMessage && place <= bytes.length) hear(bytes.subarray(from, place));
        else if (isMessage) missing = place - bytes.length;
        else if (place > bytes.length) return keep(bytes.subarray(from - head));
        else if ((bytes[from - head]! & 15) === ping) pong(bytes.subarray(from, place));
      }
      return true;
    }

    function lost(): void {
      if (isUp) throw new Error(`The server of ${at.path} closed a socket that was to hear news.`);
      reject(new Error("The handshake was not answered."));
    }

    function end(): void {
      socket.removeListener("close", lost);
      socket.destroy();
    }

    function pong(payload: Buffer): void {
      socket.write(Buffer.concat([Buffer.from([0x8a, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
    }

    function keep(bytes: Buffer): boolean {
      rest = Buffer.from(bytes);
      return true;
    }

    function hear(octets: Buffer): void {
      if (octets.subarray(0, 6).equals(errorMark)) throw new Error(octets.toString());
      onMessage(ear, octets);
      if (answers < at.answers && ++answers === at.answers) resolve(ear);
    }
  });
}

/** Octets of a WebSocket frame's head; more than are there, where it is cut. */
function headBytes(bytes: Buffer, place: number): number {
  const short = bytes[place + 1]! & 127;
  return short < 126 ? 2 : short === 126 ? 4 : 10;
}

function lengthAt(bytes: Buffer, place: number): number {
  const short = bytes[place + 1]! & 127;
  if (short < 126) return short;
  return short === 126 ? bytes.readUInt16BE(place + 2) : Number(bytes.readBigUInt64BE(place + 2));
}

function maskedFrame(text: string): Buffer {
  const body = Buffer.from(text);
  const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255];
  // A mask of zeros leaves the octets as they are (RFC 6455, section 5.3).
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body]);
}
