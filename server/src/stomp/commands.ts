// The frames of a connected client. Each handler changes the state, wishes what needs the world, or refuses.
import { parseDestination } from "./destination.ts";
import { type Refusal, refuse } from "./faults.ts";
import type { Frame } from "./frame.ts";
import { numberOf, receiverOf } from "./issued.ts";
import { type Session, type Turn, takeUnstored, wish } from "./state.ts";
import { readSubscribe } from "./subscribe.ts";
import { judge, type Subscription, takeReach, type Verdict } from "./subscription.ts";
import { beginTransaction, endTransaction, type Joined, joinTransaction } from "./transaction.ts";

const maxSubscriptions = 100;
/** MESSAGE's own; a SEND that names one of them could pass for a message of ours. */
const reservedHeaders = [
  "subscription",
  "message-id",
  "ack",
  "redelivered",
  "delivery-count",
  "cursor",
  "event-id",
  "event-type",
];
const consumedHeaders = new Set(["destination", "receipt", "transaction", "content-length"]);

type Handler = (turn: Turn, frame: Frame) => Refusal | null;

const handlers = new Map<string, Handler>([
  ["SUBSCRIBE", subscribe],
  ["UNSUBSCRIBE", unsubscribe],
  ["ACK", (turn, frame) => acknowledge(turn, frame, "settle")],
  ["NACK", refuseMessage],
  ["BEGIN", begin],
  ["COMMIT", commit],
  ["ABORT", abort],
  ["SEND", sendMessage],
  // Its whole effect is the end, which comes when everything before is stored.
  ["DISCONNECT", () => null],
]);

/** Does what a client's frame says after CONNECTED; gives why not. */
export function obey(turn: Turn, frame: Frame): Refusal | null {
  const { command } = frame;
  if (command === "CONNECT" || command === "STOMP") return refuse("already_connected");
  const handler = handlers.get(command);
  if (handler === undefined || (command === "NACK" && turn.state.version === "1.0")) return refuse("unknown_command");
  if (command !== "SEND" && frame.body.length > 0 && turn.state.version !== "1.0") return refuse("body_not_allowed");
  return handler(turn, frame);
}

function missing(command: string, header: string): Refusal {
  return refuse("header_missing", `${command} needs the header ${header}.`);
}

function subscribe(turn: Turn, frame: Frame): Refusal | null {
  const { state } = turn;
  const opening = readSubscribe(frame, state.version!, state.settings.chat);
  if ("code" in opening) return opening;
  if (opening.id !== null && findById(state, opening.id) !== undefined) return refuse("subscription_open");
  if (state.subscriptions.size >= maxSubscriptions)
    return refuse("limit_exceeded", `A session has up to ${maxSubscriptions} subscriptions.`);
  const key = ++state.subscriptionCount;
  state.current!.opening = { key, opening };
  wish(turn, { kind: "open", subscription: key, opening });
  return null;
}

function findById(state: Session, id: string): Subscription | undefined {
  for (const subscription of state.subscriptions.values()) if (subscription.id === id) return subscription;
  return undefined;
}

/** In 1.0, where an id is not needed, a destination stands for all its subscriptions. */
function unsubscribe(turn: Turn, { headers }: Frame): Refusal | null {
  const { state } = turn;
  const id = headers.get("id");
  const destination = state.version === "1.0" ? headers.get("destination") : undefined;
  if (id === undefined && destination === undefined) return missing("UNSUBSCRIBE", "id");
  const left = [...state.subscriptions.values()].filter((subscription) =>
    id === undefined ? subscription.destinationText === destination : subscription.id === id,
  );
  if (left.length === 0) return refuse("subscription_unknown");
  const effects = takeUnstored(state, left);
  if (effects.length > 0) wish(turn, { kind: "apply", effects });
  for (const { key } of left) state.subscriptions.delete(key);
  wish(turn, { kind: "leave", subscriptions: left.map(({ key }) => key) });
  return null;
}

function refuseMessage(turn: Turn, frame: Frame): Refusal | null {
  const requeue = frame.headers.get("requeue") ?? "true";
  if (requeue !== "true" && requeue !== "false") return refuse("header_invalid", "requeue is true or false.");
  return acknowledge(turn, frame, requeue === "true" ? "refuse" : "park");
}

function acknowledge(turn: Turn, frame: Frame, verdict: Verdict): Refusal | null {
  const { state } = turn;
  const found = findMessage(state, frame);
  if ("code" in found) return found;
  const { subscription, number } = found;
  const transaction = frame.headers.get("transaction");
  if (transaction !== undefined) {
    const joined: Joined | null =
      subscription === null ? null : { kind: "verdict", subscription: subscription.key, number, verdict };
    return joinTransaction(state.transactions, transaction, frame, joined);
  }
  if (subscription === null) return null;
  const reach = takeReach(subscription, number);
  const effects = judge(subscription, reach, verdict, state.settings.maxDeliveries, turn.now);
  if (effects.length > 0) wish(turn, { kind: "apply", effects });
  return null;
}

type Found = { subscription: Subscription | null; number: number };

/** The unsettled message that an ACK or NACK names; subscription null: one that this session has left. */
function findMessage(state: Session, { command, headers }: Frame): Found | Refusal {
  const name = state.version === "1.2" ? "id" : "message-id";
  const messageId = headers.get(name);
  if (messageId === undefined) return missing(command, name);
  const subscriptionId = headers.get("subscription");
  if (state.version === "1.1" && subscriptionId === undefined) return missing(command, "subscription");
  const number = numberOf(messageId);
  const receiver = receiverOf(state.issued, number) ?? findReceiver(state, number);
  if (receiver === null) return refuse("ack_unknown");
  const subscription = state.subscriptions.get(receiver);
  if (subscription === undefined) return { subscription: null, number };
  if (state.version === "1.1" && subscription.id !== subscriptionId) return refuse("ack_unknown");
  if (subscription.unsettled.get(number)?.messageId !== messageId) return refuse("ack_unknown");
  return { subscription, number };
}

/** For numbers so old that the runs are forgotten: what is unsettled is always known. */
function findReceiver(state: Session, number: number): number | null {
  for (const { key, unsettled } of state.subscriptions.values()) if (unsettled.has(number)) return key;
  return null;
}

function begin({ state }: Turn, { command, headers }: Frame): Refusal | null {
  const name = headers.get("transaction");
  return name === undefined ? missing(command, "transaction") : beginTransaction(state.transactions, name);
}

function abort({ state }: Turn, { command, headers }: Frame): Refusal | null {
  const name = headers.get("transaction");
  if (name === undefined) return missing(command, "transaction");
  const ended = endTransaction(state.transactions, name);
  return "code" in ended ? ended : null;
}

/** All that joined takes effect in order, as one wish. What was settled or left meanwhile does nothing. */
function commit(turn: Turn, { command, headers }: Frame): Refusal | null {
  const { state, now } = turn;
  const name = headers.get("transaction");
  if (name === undefined) return missing(command, "transaction");
  const joined = endTransaction(state.transactions, name);
  if ("code" in joined) return joined;
  const effects = joined.flatMap((one) => {
    if (one.kind === "publish") return [one];
    const subscription = state.subscriptions.get(one.subscription);
    if (!subscription?.unsettled.has(one.number)) return [];
    const reach = takeReach(subscription, one.number);
    return judge(subscription, reach, one.verdict, state.settings.maxDeliveries, now);
  });
  effects.push(...takeUnstored(state));
  if (effects.length > 0) wish(turn, { kind: "apply", effects });
  return null;
}

function sendMessage(turn: Turn, frame: Frame): Refusal | null {
  const { state } = turn;
  const { chat } = state.settings;
  if (chat === null) return refuse("send_refused");
  const destinationText = frame.headers.get("destination");
  if (destinationText === undefined) return missing("SEND", "destination");
  const destination = parseDestination(destinationText, chat);
  const isChat = destination?.kind === "chatTopic" || (destination?.kind === "queue" && destination.isChat);
  if (!isChat) return refuse("send_refused");
  if (reservedHeaders.some((name) => frame.headers.has(name))) return refuse("header_reserved");
  const headers = [...frame.headers].filter(([name]) => !consumedHeaders.has(name));
  const publish = { kind: "publish", destination, headers, body: frame.body } as const;
  const transaction = frame.headers.get("transaction");
  if (transaction !== undefined) return joinTransaction(state.transactions, transaction, frame, publish);
  wish(turn, { kind: "apply", effects: [publish] });
  return null;
}
