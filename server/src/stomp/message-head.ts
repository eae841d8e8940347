// The heads of the WebSocket messages that we write beside `ws`.

/** Octets of the head of a message that the server sends: never masked (RFC 6455, section 5.2). */
export function headBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Puts the head of a whole message; gives the place behind it. */
export function putHead(piece: Buffer, place: number, length: number, asText: boolean): number {
  piece[place] = asText ? 0x81 : 0x82;
  if (length < 126) return piece.writeUInt8(length, place + 1);
  if (length < 65_536) {
    piece[place + 1] = 126;
    return piece.writeUInt16BE(length, place + 2);
  }
  piece[place + 1] = 127;
  return piece.writeBigUInt64BE(BigInt(length), place + 2);
}
