/**
 * One STOMP session, pure: inputs in, frames and wishes out; no I/O, and time only as an argument. A client's frames
 * take effect one after another: the next is taken when all wishes of the one before are answered.
 */
import { obey } from "./commands.ts";
import { readConnect } from "./connect.ts";
import type { Authenticated, Input, Notice, Opened, Settings, Wish } from "./contract.ts";
import { askForMore, deliverEvents } from "./deliver.ts";
import { type Refusal, refuse } from "./faults.ts";
import type { Frame, Header } from "./frame.ts";
import { beatDueAt, missedAt } from "./heart-beat.ts";
import { nextDueAt, storeDueAt } from "./progress.ts";
import { fail, hangUp, type Out, type Session, send, storeAside, type Turn, takeUnstored } from "./state.ts";
import { newSubscription, roomFor, type Subscription } from "./subscription.ts";

export type { Session } from "./state.ts";

/** Client frames: so many a second, and so many at once. */
const frameIntervalMs = 1000 / 100;
const frameBurst = 200;
/** A refused credential is told no sooner, so that the time tells nothing about it. */
const refusalDelayMs = 250;
const expiryNoticeMs = 60_000;
const never = Number.POSITIVE_INFINITY;

type Step = { state: Session; out: Out[]; wishes: Wish[] };

/** A new session as of its handshake. */
export function startSession(settings: Settings, now: number): Step {
  const state: Session = {
    settings,
    phase: "greeting",
    version: null,
    greeting: null,
    identity: null,
    refusal: null,
    startedAt: now,
    connectAt: now,
    lastHeardAt: now,
    lastSentAt: now,
    armedAt: never,
    frameDueAt: now,
    toldOfExpiry: false,
    current: null,
    storing: new Set(),
    wishCount: 0,
    subscriptionCount: 0,
    subscriptions: new Map(),
    transactions: new Map(),
    issued: { count: 0, runs: [] },
  };
  const turn: Turn = { state, now, out: [], wishes: [] };
  arm(turn);
  return turn;
}

/** Whether a frame of the client may be taken now: none is under way, and the rate allows it. */
export function takesFrame(state: Session, now: number): boolean {
  return (state.phase === "greeting" || state.phase === "open") && state.current === null && frameAt(state) <= now;
}

function frameAt(state: Session): number {
  return state.frameDueAt - (frameBurst - 1) * frameIntervalMs;
}

/**
 * Answers one input. Write `out`, then carry out `wishes`, both in order. The state given is used up: go on with the one
 * returned. `now` never falls. A frame may only be given when `takesFrame`; after the end nothing has an effect.
 */
export function step(state: Session, input: Input, now: number): Step {
  const turn: Turn = { state, now, out: [], wishes: [] };
  if (state.phase === "ended") return turn;
  receive(turn, input);
  if (turn.out.length > 0) state.lastSentAt = now;
  if (state.phase === "open") sendBeat(turn);
  if (input.kind === "clock") state.armedAt = never;
  arm(turn);
  return turn;
}

function receive(turn: Turn, input: Input): void {
  switch (input.kind) {
    case "frame":
      takeFrame(turn, input);
      break;
    case "beat":
      turn.state.lastHeardAt = turn.now;
      break;
    case "fault":
      fail(turn, refuse(input.code, input.detail), input.receipt);
      break;
    case "authenticated":
      connect(turn, input);
      break;
    case "opened":
      open(turn, input);
      break;
    case "done":
      settleWish(turn, input.wish);
      break;
    case "refused":
      takeRefusal(turn, input.wish, input.refusal);
      break;
    case "events":
      deliverEvents(turn, input);
      break;
    case "clock":
      onClock(turn);
      break;
    case "end":
      fail(turn, input.refusal, null);
      break;
    case "shutdown":
      hangUp(turn, 1001, null);
      break;
    case "gone":
      hangUp(turn, null, null);
  }
}

function takeFrame(turn: Turn, frame: Frame): void {
  const { state, now } = turn;
  if (!takesFrame(state, now)) throw new Error("a frame was given while none may be taken");
  state.lastHeardAt = now;
  state.frameDueAt = Math.max(state.frameDueAt, now) + frameIntervalMs;
  const { command } = frame;
  const isConnect = command === "CONNECT" || command === "STOMP";
  const receipt = isConnect ? null : (frame.headers.get("receipt") ?? null);
  state.current = { command, receipt, replies: [], waitsFor: new Set(), opening: null, opened: null, stored: false };
  let refusal: Refusal | null;
  if (state.phase === "open") refusal = obey(turn, frame);
  else refusal = isConnect ? greet(turn, frame) : refuse("not_connected");
  if (refusal !== null) fail(turn, refusal, receipt);
  else finishFrame(turn);
}

function greet(turn: Turn, frame: Frame): Refusal | null {
  const { state } = turn;
  const greeting = readConnect(frame, state.settings.heartBeat);
  if ("code" in greeting) return greeting;
  state.phase = "authenticating";
  state.connectAt = turn.now;
  state.greeting = greeting;
  const id = ++state.wishCount;
  turn.wishes.push({ kind: "authenticate", id, credential: greeting.credential, login: greeting.login });
  state.current!.waitsFor.add(id);
  return null;
}

function connect(turn: Turn, identity: Authenticated): void {
  const { state, now } = turn;
  const { version } = state.greeting!;
  state.identity = identity;
  state.version = version;
  state.phase = "open";
  state.lastHeardAt = now;
  const offer = version === "1.0" ? [0, 0] : state.settings.heartBeat;
  const headers: Header[] = [
    ["version", version],
    ["session", identity.session],
    ["server", state.settings.server],
    ["heart-beat", offer.join(",")],
    ["api-version", identity.apiVersion],
  ];
  if (identity.deprecation !== null) headers.push(["deprecation", String(identity.deprecation)]);
  if (identity.sunset !== null) headers.push(["sunset", identity.sunset]);
  send(turn, "CONNECTED", headers);
  settleWish(turn, identity.wish);
}

function open(turn: Turn, answer: Opened): void {
  const { current } = turn.state;
  if (!current?.opening || !current.waitsFor.has(answer.wish)) return;
  const { key, opening } = current.opening;
  current.opened = newSubscription(key, opening, answer);
  if (opening.id !== null) current.replies.push(["subscription", opening.id]);
  current.replies.push(["ack", opening.ack]);
  if (answer.cursor !== null) current.replies.push(["cursor", answer.cursor]);
  if (answer.apiVersion !== null) current.replies.push(["api-version", answer.apiVersion]);
  if (opening.durable !== null) current.replies.push(["durable", opening.durable.name]);
  settleWish(turn, answer.wish);
}

function settleWish(turn: Turn, id: number): void {
  const { storing, current } = turn.state;
  storing.delete(id);
  if (current?.waitsFor.delete(id)) finishFrame(turn);
}

function takeRefusal(turn: Turn, id: number, refusal: Refusal): void {
  const { state, now } = turn;
  const isOfFrame = state.current?.waitsFor.has(id) === true;
  if (!isOfFrame && !state.storing.has(id)) return;
  const toldAt = state.connectAt + refusalDelayMs;
  if (refusal.code === "authentication_failed" && now < toldAt) {
    state.phase = "refused";
    state.refusal = { at: toldAt, refusal };
  } else fail(turn, refusal, isOfFrame ? state.current!.receipt : null);
}

/** The frame is done when all its wishes are answered; its RECEIPT comes when all that was settled before is stored. */
function finishFrame(turn: Turn): void {
  const { state } = turn;
  const current = state.current!;
  if (current.waitsFor.size > 0) return;
  if (current.receipt !== null) {
    if (!current.stored) {
      current.stored = true;
      storeAside(turn, takeUnstored(state));
      current.waitsFor = new Set(state.storing);
      if (current.waitsFor.size > 0) return;
    }
    send(turn, "RECEIPT", [["receipt-id", current.receipt], ...current.replies]);
  }
  state.current = null;
  if (current.command === "DISCONNECT") hangUp(turn, 1000, null);
  if (current.opened !== null) begin(turn, current.opened);
  for (const subscription of state.subscriptions.values()) askForMore(turn, subscription);
}

function begin(turn: Turn, subscription: Subscription): void {
  const { subscriptions, identity } = turn.state;
  subscriptions.set(subscription.key, subscription);
  if (subscription.kind !== "notices") return;
  if (identity!.deprecation !== null) notify(turn, subscription, "version.deprecated");
  if (noticeAt(turn.state) <= turn.now) notify(turn, subscription, "token.expiring");
}

function notify(turn: Turn, { key }: Subscription, notice: Notice): void {
  turn.wishes.push({ kind: "notice", subscription: key, notice });
}

function noticeAt({ identity }: Session): number {
  return (identity?.expiresAt ?? never) - expiryNoticeMs;
}

function onClock(turn: Turn): void {
  const { state, now } = turn;
  if (state.phase === "refused") {
    if (now >= state.refusal!.at) fail(turn, state.refusal!.refusal, null);
  } else if (state.phase !== "open") {
    if (now >= state.startedAt + state.settings.loginMs) fail(turn, refuse("login_timeout"), null);
  } else if (now >= (state.identity!.expiresAt ?? never)) fail(turn, refuse("token_expired"), null);
  else if (now >= missedAt(state.greeting!.heartBeat, state.lastHeardAt) && state.current === null)
    fail(turn, refuse("heart_beat_missed"), null);
  else onQuietClock(turn);
}

function onQuietClock(turn: Turn): void {
  const { state, now } = turn;
  // While a frame is under way the shell may have stopped reading, so silence is not the client's.
  if (state.current !== null) state.lastHeardAt = now;
  const subscriptions = [...state.subscriptions.values()];
  if (!state.toldOfExpiry && now >= noticeAt(state)) {
    state.toldOfExpiry = true;
    for (const one of subscriptions) if (one.kind === "notices") notify(turn, one, "token.expiring");
  }
  const due = subscriptions.filter(({ progress }) => progress !== null && storeDueAt(progress) <= now);
  storeAside(turn, takeUnstored(state, due));
  for (const subscription of subscriptions) askForMore(turn, subscription);
}

function sendBeat(turn: Turn): void {
  const { state, now } = turn;
  if (now < beatDueAt(state.greeting!.heartBeat, state.lastSentAt)) return;
  turn.out.push({ kind: "beat" });
  state.lastSentAt = now;
}

/** Wishes for the clock when something is due before it comes anyway. */
function arm(turn: Turn): void {
  const { state, now } = turn;
  const at = Math.max(now, nextDue(state, now));
  if (at >= state.armedAt) return;
  state.armedAt = at;
  turn.wishes.push({ kind: "wakeAt", at });
}

function nextDue(state: Session, now: number): number {
  if (state.phase === "ended") return never;
  if (state.phase === "refused") return state.refusal!.at;
  if (state.phase !== "open") return state.startedAt + state.settings.loginMs;
  const { heartBeat } = state.greeting!;
  let next = Math.min(
    state.identity!.expiresAt ?? never,
    state.toldOfExpiry ? never : noticeAt(state),
    beatDueAt(heartBeat, state.lastSentAt),
    missedAt(heartBeat, state.lastHeardAt),
    frameAt(state) > now ? frameAt(state) : never,
  );
  for (const subscription of state.subscriptions.values()) {
    const { progress } = subscription;
    if (progress === null) continue;
    next = Math.min(next, storeDueAt(progress), roomFor(subscription) > 0 ? nextDueAt(progress) : never);
  }
  return next;
}
