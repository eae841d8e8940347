// Events to MESSAGE frames, and what more a subscription has room for.
import type { Delivery, Events } from "./contract.ts";
import type { Header } from "./frame.ts";
import { issueNumbers } from "./issued.ts";
import { isFarAhead, notePosition, noteReadTo, settlePosition, takeDue } from "./progress.ts";
import { messageFrame } from "./run.ts";
import { storeAside, type Turn } from "./state.ts";
import { outstandingPositions, roomFor, type Subscription } from "./subscription.ts";

/** Sends a batch; unknown subscriptions were left and hear nothing more. */
export function deliverEvents(turn: Turn, events: Events): void {
  const { subscription: key, batch, passed = [], readTo, stencils } = events;
  const subscription = turn.state.subscriptions.get(key);
  if (subscription === undefined) return;
  const { kind, ack } = subscription;
  if (stencils !== undefined && kind === "plain" && ack === "auto") {
    subscription.asked = Math.max(0, subscription.asked - batch.length);
    const first = issueNumbers(turn.state.issued, key, batch.length);
    turn.out.push({ kind: "run", batch, first, subscription, stencils });
  } else for (const delivery of batch) deliverOne(turn, subscription, delivery);
  if (subscription.kind === "queue" && subscription.ack === "auto" && batch.length > 0) {
    const positions = batch.map(({ position }) => position);
    storeAside(turn, [{ kind: "settle", subscription: key, outcome: "done", positions }]);
  }
  const { progress } = subscription;
  if (progress !== null) {
    for (const position of passed)
      if (progress.askedAgain.delete(position)) settlePosition(progress, position, turn.now);
    if (readTo !== undefined) noteReadTo(progress, readTo, turn.now);
  }
  askForMore(turn, subscription);
}

function deliverOne(turn: Turn, subscription: Subscription, delivery: Delivery): void {
  const { key, ack, progress, unsettled } = subscription;
  const { position, eventId, shared } = delivery;
  const wasAskedAgain = progress?.askedAgain.has(position) === true;
  if (!wasAskedAgain) subscription.asked = Math.max(0, subscription.asked - 1);
  const { deliveries: told } = delivery;
  const deliveries = progress === null ? told : notePosition(progress, position, told, turn.now);
  const number = issueNumbers(turn.state.issued, key, 1);
  const messageId = `${eventId}.${number}`;
  const headers: Header[] = [...subscription.headers];
  if (ack !== "auto") {
    unsettled.set(number, { messageId, position, deliveries });
    if (turn.state.version === "1.2") headers.push(["ack", messageId]);
  }
  if (deliveries > 1) headers.push(["redelivered", "true"], ["delivery-count", String(deliveries)]);
  turn.out.push(messageFrame(messageId, headers, shared));
}

/**
 * Tells the shell what the window has room for: repeats that are due first, then new messages. Told again when half of
 * the window has become free, so that a quiet tail costs no wish per message, and at once when there is less room.
 */
export function askForMore(turn: Turn, subscription: Subscription): void {
  const { key: of, kind, progress, window, asked } = subscription;
  if (kind === "notices") return;
  let room = roomFor(subscription);
  if (progress !== null) {
    const positions = takeDue(progress, turn.now, room);
    if (positions.length > 0) turn.wishes.push({ kind: "again", subscription: of, positions });
    room = isFarAhead(progress, outstandingPositions(subscription)) ? 0 : room - positions.length;
  }
  const grown = room - asked;
  if (grown === 0 || (grown > 0 && asked > 0 && grown * 2 < window)) return;
  subscription.asked = room;
  turn.wishes.push({ kind: "need", subscription: of, count: room });
}
