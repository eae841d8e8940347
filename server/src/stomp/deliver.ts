// Events to MESSAGE frames, and what more a subscription has room for.
import type { Delivery, Events } from "./contract.ts";
import type { Header } from "./frame.ts";
import { issueNumber } from "./issued.ts";
import { isFarAhead, notePosition, noteReadTo, settlePosition, takeDue } from "./progress.ts";
import { storeAside, type Turn } from "./state.ts";
import { outstandingPositions, roomFor, type Subscription } from "./subscription.ts";

/** Sends a batch; unknown subscriptions were left and hear nothing more. */
export function deliverEvents(turn: Turn, { subscription: key, batch, passed = [], readTo }: Events): void {
  const subscription = turn.state.subscriptions.get(key);
  if (subscription === undefined) return;
  for (const delivery of batch) deliverOne(turn, subscription, delivery);
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
  const { key, id, ack, progress, unsettled } = subscription;
  const { position, eventId, shared } = delivery;
  const wasAskedAgain = progress?.askedAgain.has(position) === true;
  if (!wasAskedAgain) subscription.asked = Math.max(0, subscription.asked - 1);
  const { deliveries: told } = delivery;
  const deliveries = progress === null ? told : notePosition(progress, position, told, turn.now);
  const number = issueNumber(turn.state.issued, key);
  const messageId = `${eventId}.${number}`;
  const headers: Header[] = [
    ["message-id", messageId],
    ["destination", subscription.destinationText],
  ];
  if (id !== null) headers.push(["subscription", id]);
  if (ack !== "auto") {
    unsettled.set(number, { messageId, position, deliveries });
    if (turn.state.version === "1.2") headers.push(["ack", messageId]);
  }
  if (deliveries > 1) headers.push(["redelivered", "true"], ["delivery-count", String(deliveries)]);
  turn.out.push({ kind: "frame", command: "MESSAGE", headers, rest: shared });
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
