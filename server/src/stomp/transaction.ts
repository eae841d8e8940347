// Open transactions: what they hold until COMMIT, and how much that may be.
import type { Effect } from "./contract.ts";
import { type Refusal, refuse } from "./faults.ts";
import type { Frame } from "./frame.ts";
import type { Verdict } from "./subscription.ts";

const maxOpen = 10;
const maxFrames = 1000;
const maxBytes = 4 * 1024 * 1024;

/** A frame that joined: a verdict on a message, or a message to send. */
export type Joined =
  | { kind: "verdict"; subscription: number; number: number; verdict: Verdict }
  | (Effect & { kind: "publish" });

/** `bytes` are those of one transaction; the limit is on all of a session together. */
export type Transaction = { joined: Joined[]; bytes: number };
export type Transactions = Map<string, Transaction>;

/** Opens a transaction. */
export function beginTransaction(transactions: Transactions, name: string): Refusal | null {
  if (transactions.has(name)) return refuse("transaction_open");
  if (transactions.size >= maxOpen)
    return refuse("limit_exceeded", `A session has up to ${maxOpen} open transactions.`);
  transactions.set(name, { joined: [], bytes: 0 });
  return null;
}

/** Ends a transaction and gives what joined it, in order. */
export function endTransaction(transactions: Transactions, name: string): Joined[] | Refusal {
  const transaction = transactions.get(name);
  if (transaction === undefined) return refuse("transaction_unknown");
  transactions.delete(name);
  return transaction.joined;
}

/** Joins what a frame does; `joined` null: the frame does nothing, but the transaction has to be open all the same. */
export function joinTransaction(
  transactions: Transactions,
  name: string,
  frame: Frame,
  joined: Joined | null,
): Refusal | null {
  const transaction = transactions.get(name);
  if (transaction === undefined) return refuse("transaction_unknown");
  if (joined === null) return null;
  if (transaction.joined.length >= maxFrames)
    return refuse("limit_exceeded", `A transaction has up to ${maxFrames} frames.`);
  transaction.bytes += sizeOf(frame);
  transaction.joined.push(joined);
  let bytes = 0;
  for (const open of transactions.values()) bytes += open.bytes;
  return bytes > maxBytes ? refuse("limit_exceeded", `Open transactions hold up to ${maxBytes} octets.`) : null;
}

function sizeOf({ headers, body }: Frame): number {
  let bytes = body.length;
  for (const [name, value] of headers) bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  return bytes;
}
