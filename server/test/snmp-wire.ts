import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto";

// BER and the user-based security model for the agent of the tests. Written from the RFCs and not with the library
// that the product uses, so that a mistake of the library is not checked against itself.

export const tags = {
  integer: 0x02,
  octets: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  counter32: 0x41,
  gauge32: 0x42,
  timeTicks: 0x43,
  counter64: 0x46,
  noSuchObject: 0x80,
  endOfMibView: 0x82,
  get: 0xa0,
  getNext: 0xa1,
  response: 0xa2,
  getBulk: 0xa5,
  report: 0xa8,
} as const;

/** One BER element: its tag and the bytes inside. */
export type Element = { tag: number; content: Buffer };

export function encode(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 128) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const digits = length.subarray(length.findIndex((byte) => byte > 0));
  return Buffer.concat([Buffer.from([tag, 0x80 + digits.length]), digits, body]);
}

/** A number of 0 or more; a zero byte in front keeps it from reading as negative. */
export function encodeNumber(value: number | bigint, tag: number = tags.integer): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex");
  return encode(tag, bytes[0]! > 0x7f ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
}

export const encodeText = (text: string | Buffer): Buffer => encode(tags.octets, Buffer.from(text as string));

export function encodeOid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  const bytes = [first! * 40 + second!];
  for (const arc of rest) {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift(128 + (left % 128));
    bytes.push(...digits);
  }
  return encode(tags.oid, Buffer.from(bytes));
}

/** The element at the start of `buffer` and what follows it; throws where its length does not fit. */
export function decodeFirst(buffer: Buffer): { element: Element; rest: Buffer } {
  let length = buffer.readUInt8(1);
  let start = 2;
  if (length > 127) {
    start += length - 128;
    length = buffer.readUIntBE(2, start - 2);
  }
  if (start + length > buffer.length) throw new RangeError("An element is longer than its container.");
  const element = { tag: buffer.readUInt8(0), content: buffer.subarray(start, start + length) };
  return { element, rest: buffer.subarray(start + length) };
}

/** The elements that stand one after the other in `buffer`. */
export function decode(buffer: Buffer): Element[] {
  const elements: Element[] = [];
  for (let left = buffer; left.length > 0; ) {
    const { element, rest } = decodeFirst(left);
    elements.push(element);
    left = rest;
  }
  return elements;
}

export const decodeNumber = ({ content }: Element): number => content.readIntBE(0, content.length);

export function decodeOid({ content }: Element): string {
  const arcs = [Math.floor(content[0]! / 40), content[0]! % 40];
  let arc = 0;
  for (const byte of content.subarray(1)) {
    arc = arc * 128 + (byte % 128);
    if (byte > 127) continue;
    arcs.push(arc);
    arc = 0;
  }
  return arcs.join(".");
}

export type AuthProtocol = "MD5" | "SHA" | "SHA-224" | "SHA-256" | "SHA-384" | "SHA-512";
export type PrivProtocol = "DES" | "AES-128" | "AES-256" | "AES-256-C";

/** Hash and length of the digest in the message: RFC 3414 sections 6 and 7, RFC 7860 section 4. */
const authentication: Record<AuthProtocol, readonly [hash: string, digestLength: number]> = {
  MD5: ["md5", 12],
  SHA: ["sha1", 12],
  "SHA-224": ["sha224", 16],
  "SHA-256": ["sha256", 24],
  "SHA-384": ["sha384", 32],
  "SHA-512": ["sha512", 48],
};

export const digestLength = (protocol: AuthProtocol): number => authentication[protocol][1];

export function computeDigest(protocol: AuthProtocol, key: Buffer, message: Buffer): Buffer {
  const [hash, length] = authentication[protocol];
  return createHmac(hash, key).update(message).digest().subarray(0, length);
}

/** Passphrase to localized key, RFC 3414 appendix A.2. */
export function localizeKey(protocol: AuthProtocol, passphrase: string | Buffer, engineId: Buffer): Buffer {
  const [hash] = authentication[protocol];
  const stretched = createHash(hash)
    .update(Buffer.alloc(1_048_576, passphrase as string))
    .digest();
  return createHash(hash).update(stretched).update(engineId).update(stretched).digest();
}

/** The privacy key; AES-256 needs more bytes than the shorter hashes give, and there are two ways to get them. */
export function privacyKey(privacy: PrivProtocol, auth: AuthProtocol, passphrase: string, engineId: Buffer): Buffer {
  const key = localizeKey(auth, passphrase, engineId);
  if (privacy === "DES" || privacy === "AES-128") return key.subarray(0, 16);
  const more =
    privacy === "AES-256"
      ? createHash(authentication[auth][0]).update(key).digest() // draft-blumenthal-aes-usm-04
      : localizeKey(auth, key, engineId); // draft-reeder-snmpv3-usm-3desede-00, what Cisco does
  return Buffer.concat([key, more]).subarray(0, 32);
}

export type EngineClock = { boots: number; time: number };

/** The initialisation vector: RFC 3414 section 8.1.1.1 for DES, RFC 3826 section 3.1.2.1 for AES. */
function vector(protocol: PrivProtocol, key: Buffer, clock: EngineClock, salt: Buffer): Buffer {
  if (protocol === "DES") return Buffer.from(salt.map((byte, at) => byte ^ key[8 + at]!));
  const times = Buffer.alloc(8);
  times.writeUInt32BE(clock.boots);
  times.writeUInt32BE(clock.time, 4);
  return Buffer.concat([times, salt]);
}

// OpenSSL 3 has no single DES; triple DES with three equal keys is the same function.
const cipherOf = (protocol: PrivProtocol, key: Buffer): [name: string, key: Buffer] => {
  const des = key.subarray(0, 8);
  if (protocol === "DES") return ["des-ede3-cbc", Buffer.concat([des, des, des])];
  return [protocol === "AES-128" ? "aes-128-cfb" : "aes-256-cfb", key];
};

export function encrypt(protocol: PrivProtocol, key: Buffer, clock: EngineClock, plain: Buffer) {
  const salt = randomBytes(8);
  const cipher = createCipheriv(...cipherOf(protocol, key), vector(protocol, key, clock, salt)).setAutoPadding(false);
  const padding = protocol === "DES" ? Buffer.alloc((8 - (plain.length % 8)) % 8) : Buffer.alloc(0);
  return { salt, encrypted: Buffer.concat([cipher.update(plain), cipher.update(padding), cipher.final()]) };
}

export function decrypt(protocol: PrivProtocol, key: Buffer, clock: EngineClock, salt: Buffer, encrypted: Buffer) {
  const decipher = createDecipheriv(...cipherOf(protocol, key), vector(protocol, key, clock, salt));
  decipher.setAutoPadding(false);
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}
