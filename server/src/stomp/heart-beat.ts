// Heart-beats, STOMP 1.2 "Heart-beating": agreement and deadlines.

/** Milliseconds, 0: none in this direction. */
export type HeartBeat = { sendMs: number; expectMs: number };

export const noHeartBeat: HeartBeat = { sendMs: 0, expectMs: 0 };

/** The pair in a `heart-beat` header; null: malformed. */
export function parseHeartBeat(text: string): readonly [sendMs: number, expectMs: number] | null {
  const pair = /^([0-9]{1,10}),([0-9]{1,10})$/.exec(text);
  return pair === null ? null : [Number(pair[1]), Number(pair[2])];
}

/** What holds between our offer and the client's, each (can send, wants to hear). */
export function agreeHeartBeat(ours: readonly [number, number], theirs: readonly [number, number]): HeartBeat {
  const slower = (can: number, wants: number) => (can === 0 || wants === 0 ? 0 : Math.max(can, wants));
  return { sendMs: slower(ours[0], theirs[1]), expectMs: slower(theirs[0], ours[1]) };
}

/** When a beat is due: after 80 % of the time agreed, so that it arrives within it. */
export function beatDueAt({ sendMs }: HeartBeat, lastSentAt: number): number {
  return sendMs === 0 ? Number.POSITIVE_INFINITY : lastSentAt + Math.floor(sendMs * 0.8);
}

/** When silence has lasted too long: twice the time agreed. */
export function missedAt({ expectMs }: HeartBeat, lastHeardAt: number): number {
  return expectMs === 0 ? Number.POSITIVE_INFINITY : lastHeardAt + expectMs * 2;
}
