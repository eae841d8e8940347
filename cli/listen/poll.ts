/** News by asking for the next page of the feed, which answers as soon as there is something. */
import { beginning, type Channel, logAddress, read } from "./channel.ts";
import { Broken, wordsOf } from "./faults.ts";

const waitSeconds = 25;
const replyMs = 15_000;

type Page = { items: { id: string }[]; nextCursor: string };

export const overPoll: Channel = async function* (ask) {
  let start = beginning(ask);
  // The first page is not waited for: its cursor is the place that a break must not lose.
  for (let wait = 0; ; wait = waitSeconds) {
    const timeout = AbortSignal.timeout(wait * 1_000 + replyMs);
    const address = logAddress(ask, "event-log", { ...start, limit: "200" });
    const prefer: Record<string, string> = wait === 0 ? {} : { prefer: `wait=${wait}` };
    const reply = await read(ask, address, prefer, AbortSignal.any([ask.stop, timeout]));
    const { items, nextCursor } = (await reply.json().catch((error: unknown) => {
      throw new Broken(`${ask.options.url} broke off: ${wordsOf(error)}`);
    })) as Page;
    // It stands, and the place is as it was: the page is still to be worked through.
    if (wait === 0) yield { kind: "place", cursor: ask.cursor };
    // The id of an event names the place after it, too.
    for (const item of items)
      yield { kind: "event", id: item.id, text: JSON.stringify(item), cursor: item.id, settle: () => {} };
    yield { kind: "place", cursor: nextCursor };
    start = { cursor: nextCursor };
  }
};
