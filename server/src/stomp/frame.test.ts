import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type Beat,
  type Fault,
  type Frame,
  FrameReader,
  type Header,
  isText,
  maxBodyBytes,
  maxHeadBytes,
  maxHeaders,
  maxLineBytes,
  share,
  type Version,
  writeFrame,
} from "./frame.ts";

const versions: Version[] = ["1.0", "1.1", "1.2"];
const runs = { numRuns: 300 };

function readerOf(version: Version | null, preLoginBytes = 16 * 1024): FrameReader {
  const reader = new FrameReader(preLoginBytes);
  reader.version = version;
  return reader;
}

/** All that chunks give, without beats: these depend on the cuts. */
function readAll(reader: FrameReader, chunks: readonly Uint8Array[]): (Frame | Fault)[] {
  const items: (Frame | Fault)[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let item = reader.next(); item !== null; item = reader.next()) if (item.kind !== "beat") items.push(item);
  }
  return items;
}

const plain = (item: Frame | Beat | Fault | null) =>
  item?.kind === "frame" ? { ...item, headers: [...item.headers], body: [...item.body] } : item;

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

function codeOf(version: Version | null, text: string | Buffer): string | null {
  const items = readAll(readerOf(version), [Buffer.from(text)]);
  const last = items.at(-1);
  return last?.kind === "fault" ? last.code : null;
}

/** Streams that are nearly STOMP, so that mutation and cutting meet every branch. */
const piece = fc.constantFrom(
  ...["SEND\n", "BEGIN\r\n", "a:b\n", "receipt:r\n", "content-length:3\n", "content-length:x\n", "\n", "\r\n", "\0"],
  ...[
    "x\0y",
    "abc\0",
    "\\",
    "\\n:\\c\n",
    "\\t",
    ":",
    " k : v \n",
    "\r",
    "é:ü\n",
    "\xff",
    "content-length:99999999999\n",
  ],
);
const nearStream = fc
  .array(fc.oneof(piece, fc.string({ maxLength: 5 })), { maxLength: 40 })
  .map((pieces) => Buffer.from(pieces.join(""), "latin1"));

test("however a stream is cut, it gives the same frames and the same fault", () => {
  const version = fc.constantFrom<Version | null>(...versions, null);
  fc.assert(
    fc.property(version, nearStream, fc.array(fc.nat()), fc.integer({ min: 1, max: 60 }), (v, bytes, places, left) => {
      const whole = readAll(readerOf(v, left), [bytes]).map(plain);
      assert.deepEqual(readAll(readerOf(v, left), cut(bytes, places)).map(plain), whole);
      const octets = [...bytes].map((octet) => Uint8Array.of(octet));
      assert.deepEqual(readAll(readerOf(v, left), octets).map(plain), whole);
    }),
    runs,
  );
});

test("a stream cut at any one place gives the same frames", () => {
  const text =
    "\r\nSEND\r\na\\c:\\\\\ncontent-length:3\n\n\0\0\0\0\n\0BEGIN\ntransaction:Grüße\n\n\0SEND\n\nbody\0ACK\nx\n";
  const bytes = Buffer.from(text);
  const whole = readAll(readerOf("1.2"), [bytes]).map(plain);
  assert.equal(whole.length, 4);
  for (let at = 0; at <= bytes.length; at++)
    assert.deepEqual(readAll(readerOf("1.2"), [bytes.subarray(0, at), bytes.subarray(at)]).map(plain), whole);
});

test("random octets never throw, and nothing is held beyond the limits", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Version | null>(...versions, null),
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), nearStream), { maxLength: 10 }),
      (version, chunks) => {
        const reader = readerOf(version);
        let items = 0;
        let pushed = 0;
        for (const chunk of chunks) {
          reader.push(chunk);
          pushed += chunk.length;
          while (reader.next() !== null) items++;
          assert.ok(reader.heldBytes <= maxBodyBytes + 1);
        }
        assert.ok(items <= pushed, "more items than octets");
      },
    ),
    runs,
  );
});

const noNul = fc.string({ unit: "binary", maxLength: 12 }).filter((text) => !text.includes("\0"));
const blankless = (text: string) => text.replaceAll(/[\n:]/g, "").replaceAll(/^[ \t]+|[ \t]+$/g, "");

/** What a version can carry: 1.0 neither LF nor edge blanks nor, in names, colons. */
function carriedHeaders(version: Version): fc.Arbitrary<Header[]> {
  const header = fc
    .tuple(noNul, noNul)
    .map(([name, value]): Header => (version === "1.0" ? [blankless(name), blankless(value)] : [name, value]))
    .filter(([name]) => name !== "" && name !== "content-length");
  return fc.uniqueArray(header, { selector: ([name]) => name, maxLength: 8 });
}

for (const version of versions) {
  test(`what is written in ${version} is read as it was`, () => {
    const body = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(null));
    fc.assert(
      fc.property(carriedHeaders(version), carriedHeaders(version), body, (own, shared, content) => {
        const names = new Set(own.map(([name]) => name));
        const others = content === null ? [] : shared.filter(([name]) => !names.has(name));
        const rest = content === null ? null : share(others, content);
        const bytes = writeFrame({ kind: "frame", command: "MESSAGE", headers: own, rest }, version);
        const [frame, ...more] = readAll(readerOf(version), [bytes]);
        assert.equal(more.length, 0);
        assert.equal(frame?.kind, "frame");
        const headers = [...own, ...others];
        if (content !== null) headers.push(["content-length", String(content.length)]);
        assert.deepEqual([...(frame as Frame).headers], headers);
        assert.deepEqual([...(frame as Frame).body], [...(content ?? [])]);
      }),
      runs,
    );
  });
}

test("what 1.0 cannot carry becomes a space", () => {
  const frame = { kind: "frame", command: "MESSAGE", headers: [["a:\nb", "c\nd:\\"]], rest: null } as const;
  assert.equal(Buffer.from(writeFrame(frame, "1.0")).toString(), "MESSAGE\na  b:c d:\\\n\n\0");
});

test("CONNECTED is never escaped", () => {
  const frame = { kind: "frame", command: "CONNECTED", headers: [["session", "a:b\\"]], rest: null } as const;
  assert.equal(Buffer.from(writeFrame(frame, "1.2")).toString(), "CONNECTED\nsession:a:b\\\n\n\0");
});

test("a body is rendered once per version, and a frame is one Buffer of its own", () => {
  const rest = share([["content-type", "text/plain"]], Buffer.from("é"));
  const render = (id: string) => writeFrame({ kind: "frame", command: "MESSAGE", headers: [["id", id]], rest }, "1.2");
  const first = Buffer.from(render("1")).toString();
  assert.equal(first, "MESSAGE\nid:1\ncontent-type:text/plain\ncontent-length:2\n\né\0");
  const rendered = rest.rendered.get("1.2");
  assert.equal(Buffer.from(render("22")).toString(), first.replace("id:1", "id:22"));
  assert.equal(rest.rendered.get("1.2"), rendered);
  assert.equal(rest.rendered.size, 1);
});

test("a frame may be text unless its body is not UTF-8", () => {
  const frameOf = (body: Uint8Array) =>
    ({ kind: "frame", command: "MESSAGE", headers: [], rest: share([], body) }) as const;
  assert.equal(isText(frameOf(Buffer.from("Grüße ✓"))), true);
  assert.equal(isText(frameOf(Uint8Array.from({ length: 256 }, (_, octet) => octet))), false);
  assert.equal(isText({ kind: "frame", command: "RECEIPT", headers: [], rest: null }), true);
  assert.equal(isText({ kind: "beat" }), true);
});

test("each limit admits what just fits and refuses one more", () => {
  const line = (length: number) => `SEND\n${"a:".padEnd(length, "x")}\n\n\0`;
  assert.equal(codeOf("1.2", line(maxLineBytes)), null);
  assert.equal(codeOf("1.2", line(maxLineBytes + 1)), "limit_exceeded");
  assert.equal(codeOf("1.2", "x".repeat(maxLineBytes + 1)), "limit_exceeded");
  const headers = (count: number) => `SEND\n${"a:b\n".repeat(count)}\n\0`;
  assert.equal(codeOf("1.2", headers(maxHeaders)), null);
  assert.equal(codeOf("1.2", headers(maxHeaders + 1)), "limit_exceeded");
  const head = (bytes: number) => {
    const lines = Math.floor((bytes - 6) / 1024);
    const last = bytes - 6 - lines * 1024;
    return `SEND\n${`${"a:".padEnd(1023, "x")}\n`.repeat(lines)}${last > 0 ? `${"b:".padEnd(last - 1, "x")}\n` : ""}\n\0`;
  };
  assert.equal(codeOf("1.2", head(maxHeadBytes)), null);
  assert.equal(codeOf("1.2", head(maxHeadBytes + 1)), "limit_exceeded");
  assert.equal(codeOf("1.2", `SEND\n\n${"x".repeat(maxBodyBytes)}\0`), null);
  assert.equal(codeOf("1.2", `SEND\n\n${"x".repeat(maxBodyBytes + 1)}`), "limit_exceeded");
  assert.equal(codeOf("1.2", `SEND\ncontent-length:${maxBodyBytes}\n\n`), null);
  assert.equal(codeOf("1.2", `SEND\ncontent-length:${maxBodyBytes + 1}\n\n`), "limit_exceeded");
  assert.equal(codeOf("1.2", "SEND\ncontent-length:0000000001\n\nx\0"), null);
  assert.equal(codeOf("1.2", "SEND\ncontent-length:00000000001\n\nx\0"), "frame_malformed");
});

test("before CONNECTED all octets together are limited, whatever they are", () => {
  const limit = 16 * 1024;
  const connect = (bytes: number) => `CONNECT\n${"a:".padEnd(7000, "x")}\n`.padEnd(bytes - 3, "b:y") + "\n\n\0";
  assert.equal(codeOf(null, connect(14_000)), null);
  assert.equal(codeOf(null, "\n".repeat(limit)), null);
  assert.equal(codeOf(null, "\n".repeat(limit + 1)), "limit_exceeded");
  assert.equal(codeOf(null, `CONNECT\n\n${"x".repeat(limit)}`), "limit_exceeded");
  const withBody = (bytes: number) => `CONNECT\ncontent-length:${bytes}\n\n`;
  const room = limit - withBody(10_000).length - 1;
  assert.equal(codeOf(null, withBody(room)), null);
  assert.equal(codeOf(null, withBody(room + 1)), "limit_exceeded");
  const reader = readerOf(null);
  assert.equal(readAll(reader, [Buffer.from("CONNECT\n\n\0")]).length, 1);
  reader.version = "1.2";
  assert.equal(readAll(reader, [Buffer.from("\n".repeat(limit)), Buffer.from("BEGIN\n\n\0")]).length, 1);
});

test("after a fault nothing is kept and nothing comes", () => {
  const reader = readerOf("1.2");
  reader.push(Buffer.from(`SEND\nno colon\n${"x".repeat(1000)}`));
  assert.equal(reader.next()?.kind, "fault");
  reader.push(Buffer.from("BEGIN\n\n\0"));
  assert.equal(reader.heldBytes, 0);
  assert.equal(reader.next(), null);
});

test("octets that complete no frame are a beat, once", () => {
  const reader = readerOf("1.2");
  for (const octets of ["\n", "\n\n\n", "SE", "ND\n"]) {
    reader.push(Buffer.from(octets));
    assert.deepEqual([reader.next(), reader.next()], [{ kind: "beat" }, null], octets);
  }
  reader.push(Buffer.from("\n\0\n"));
  assert.deepEqual([reader.next()?.kind, reader.next()], ["frame", null]);
});

test("a body is the frame's own, and an idle reader holds nothing", () => {
  const reader = readerOf("1.2");
  const chunk = Buffer.from("SEND\n\nbody\0");
  reader.push(chunk);
  const frame = reader.next() as Frame;
  chunk.fill(0);
  reader.push(Buffer.from("SEND\n\nother\0"));
  reader.next();
  assert.equal(Buffer.from(frame.body).toString(), "body");
  assert.equal(reader.heldBytes, 0);
});

test("the work stays in proportion to the octets, however small the chunks and however many wait", () => {
  const big = Buffer.concat([
    Buffer.from(`SEND\n${"a:b\n".repeat(90)}\n`),
    Buffer.alloc(200_000, "x"),
    Buffer.from("\0"),
  ]);
  const octetwise = readerOf("1.2");
  for (let at = 0; at < big.length; at++) {
    octetwise.push(big.subarray(at, at + 1));
    octetwise.next();
  }
  assert.ok(octetwise.workBytes < big.length * 6, `${octetwise.workBytes}`);
  const waiting = readerOf("1.2");
  const small = Buffer.from("BEGIN\ntransaction:t\n\n\0");
  for (let count = 0; count < 5000; count++) waiting.push(small);
  for (let count = 0; count < 5000; count++) {
    assert.equal(waiting.next()?.kind, "frame");
    waiting.push(small);
  }
  assert.ok(waiting.workBytes < 10_000 * small.length * 6, `${waiting.workBytes}`);
});
