// Which message numbers went to which subscription: an ACK may come after its subscription was left.

/** Runs of consecutive numbers that went to one subscription, ascending. */
export type Issued = { count: number; runs: { from: number; to: number; subscription: number }[] };

/** Between this and twice this many runs are remembered; numbers of older ones are unknown. */
const keptRuns = 1000;

/** The next numbers of the session's MESSAGEs, from 1; gives the first of them. */
export function issueNumbers(issued: Issued, subscription: number, count: number): number {
  const from = issued.count + 1;
  issued.count += count;
  const last = issued.runs.at(-1);
  if (last?.subscription === subscription) last.to = issued.count;
  else {
    issued.runs.push({ from, to: issued.count, subscription });
    if (issued.runs.length >= keptRuns * 2) issued.runs.splice(0, keptRuns);
  }
  return from;
}

/** The subscription that a number went to, null: never given out, or forgotten. */
export function receiverOf({ runs }: Issued, number: number): number | null {
  let low = 0;
  let high = runs.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const run = runs[middle]!;
    if (number < run.from) high = middle - 1;
    else if (number > run.to) low = middle + 1;
    else return run.subscription;
  }
  return null;
}

/** The number at the end of a message id; NaN: it is none of ours. */
export function numberOf(messageId: string): number {
  const number = /\.([1-9][0-9]{0,15})$/.exec(messageId);
  return number === null ? Number.NaN : Number(number[1]);
}
