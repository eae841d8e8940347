// A shell without sockets and database: drives one session as the real one has to.
import assert from "node:assert/strict";
import type { Input, Settings, Wish } from "./contract.ts";
import { compileChatPatterns } from "./destination.ts";
import { type FaultCode, faults } from "./faults.ts";
import { FrameReader, type Header, type Shared, share, type Version, writeFrame } from "./frame.ts";
import { singleFrames } from "./run.ts";
import { type Session, startSession, step, takesFrame } from "./session.ts";

export const settings: Settings = {
  requestId: "rid_1",
  server: "Demarc/1.2.3",
  loginMs: 10_000,
  heartBeat: [10_000, 10_000],
  maxDeliveries: 10,
  chat: null,
};

export const chatSettings: Settings = { ...settings, chat: compileChatPatterns(["/topic/*", "/queue/*"]) };

/** What came out of a session: frames as octets, and wishes. */
export type Emitted = { bytes: Buffer } | { wish: Wish };

export type Driver = {
  state: Session;
  reader: FrameReader;
  now: number;
  /** When the clock was asked for. */
  wakeAt: number;
  emitted: Emitted[];
};

export type Answer = (wish: Wish) => Input | null;

export function newDriver(own: Partial<Settings> = {}, preLoginBytes = 16 * 1024): Driver {
  const started = startSession({ ...settings, ...own }, 0);
  const reader = new FrameReader(preLoginBytes);
  const driver: Driver = { state: started.state, reader, now: 0, wakeAt: Number.POSITIVE_INFINITY, emitted: [] };
  record(driver, started);
  return driver;
}

function record(driver: Driver, { out, wishes }: ReturnType<typeof step>): void {
  const frames = out.flatMap((item) => (item.kind === "run" ? singleFrames(item) : [item]));
  for (const frame of frames) driver.emitted.push({ bytes: Buffer.from(writeFrame(frame, driver.state.version)) });
  for (const wish of wishes) {
    driver.emitted.push({ wish });
    if (wish.kind === "wakeAt") driver.wakeAt = wish.at;
  }
}

/** Gives one input, then takes the frames of the client that may be taken by now. */
export function give(driver: Driver, input: Input): void {
  const result = step(driver.state, input, driver.now);
  driver.state = result.state;
  record(driver, result);
  driver.reader.version = driver.state.version;
  drain(driver);
}

function drain(driver: Driver): void {
  while (takesFrame(driver.state, driver.now)) {
    const item = driver.reader.next();
    if (item === null) return;
    give(driver, item);
  }
}

export function receive(driver: Driver, bytes: Uint8Array | string): void {
  driver.reader.push(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
  drain(driver);
}

/** Lets time pass; the clock comes whenever it was asked for. */
export function pass(driver: Driver, ms: number): void {
  const until = driver.now + ms;
  while (driver.wakeAt <= until) {
    driver.now = Math.max(driver.now, driver.wakeAt);
    driver.wakeAt = Number.POSITIVE_INFINITY;
    give(driver, { kind: "clock" });
  }
  driver.now = until;
}

/** Answers wishes, those that answers lead to as well, and empties `emitted`; gives all of it in order. */
export function settleAll(driver: Driver, answer: Answer = agree): Emitted[] {
  const all: Emitted[] = [];
  for (let one = driver.emitted.shift(); one !== undefined; one = driver.emitted.shift()) {
    all.push(one);
    const input = "wish" in one ? answer(one.wish) : null;
    if (input !== null) give(driver, input);
  }
  return all;
}

/** The answer of a shell to which everything is fine. */
export function agree(wish: Wish): Input | null {
  if (wish.kind === "authenticate")
    return {
      kind: "authenticated",
      wish: wish.id,
      session: "ses_1",
      apiVersion: "v1",
      deprecation: null,
      sunset: null,
      expiresAt: null,
    };
  if (wish.kind === "open") {
    const progress = wish.opening.durable === null ? null : { position: 0, deliveredTo: 0, settledAbove: [] };
    return { kind: "opened", wish: wish.id, cursor: "c0", apiVersion: "v1", progress };
  }
  return wish.kind === "leave" || wish.kind === "apply" ? { kind: "done", wish: wish.id } : null;
}

/** Connects, and forgets what came of it. */
export function connect(driver: Driver, version: Version, headers = ""): void {
  receive(driver, `CONNECT\naccept-version:${version}\n${headers}\n\0`);
  settleAll(driver);
}

/** A session that is connected, with nothing emitted so far. */
export function connectedDriver(version: Version, own: Partial<Settings> = {}, headers = ""): Driver {
  const driver = newDriver(own);
  connect(driver, version, headers);
  return driver;
}

/** Sends text and answers everything; gives the frames that came back. */
export function exchange(driver: Driver, bytes: Uint8Array | string, answer: Answer = agree): string[] {
  receive(driver, bytes);
  return framesOf(settleAll(driver, answer));
}

export function framesOf(emitted: readonly Emitted[]): string[] {
  return emitted.flatMap((one) => ("bytes" in one ? [one.bytes.toString()] : []));
}

export function wishesOf<K extends Wish["kind"]>(emitted: readonly Emitted[], kind: K): Extract<Wish, { kind: K }>[] {
  return emitted.flatMap((one) =>
    "wish" in one && one.wish.kind === kind ? [one.wish as Extract<Wish, { kind: K }>] : [],
  );
}

/** The shared part of the event with this number. */
export function sharedEvent(position: number): Shared {
  const headers: Header[] = [
    ["content-type", "application/cloudevents+json;charset=utf-8"],
    ["event-id", `evt_${position}`],
    ["event-type", "demarc.directory.user.updated"],
    ["cursor", `c${position}`],
  ];
  return share(headers, Buffer.from(`{"n":${position}}`));
}

/** Events of these positions for a subscription, each delivered for the first time. */
export function eventsOf(subscription: number, positions: readonly number[], deliveries = 1): Input {
  const batch = positions.map((position) => ({
    position,
    eventId: `evt_${position}`,
    deliveries,
    shared: sharedEvent(position),
  }));
  return { kind: "events", subscription, batch };
}

/** The code of the fault that ended the session, checked for its form. */
export function endOf(driver: Driver, emitted: readonly Emitted[]): FaultCode | null {
  const hangUps = wishesOf(emitted, "hangUp");
  assert.ok(hangUps.length <= 1);
  const end = hangUps[0];
  if (end === undefined) return null;
  assert.equal(driver.state.phase, "ended");
  const errors = framesOf(emitted).filter((frame) => frame.startsWith("ERROR\n"));
  if (end.fault === null) {
    assert.equal(errors.length, 0);
    return null;
  }
  assert.equal(end.closeCode, faults[end.fault][0]);
  assert.equal(errors.length, 1);
  assert.equal(framesOf(emitted).at(-1), errors[0], "something follows the ERROR");
  return end.fault;
}

/** Plays an act on a session; gives the fault that it ended with. */
export function run(driver: Driver, act: (driver: Driver) => void): FaultCode | null {
  act(driver);
  return endOf(driver, settleAll(driver));
}

export const subscribeFrame = (id: string, rest = "destination:/topic/event\n") => `SUBSCRIBE\nid:${id}\n${rest}\n\0`;
export const begin = (name: string) => `BEGIN\ntransaction:${name}\n\n\0`;
export const sends = (text: string) => (driver: Driver) => receive(driver, text);
