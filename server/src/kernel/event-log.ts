/**
 * The numbered event log (notifications, part A). What calls tell lies in the outbox until the mover gives it position
 * and sequence; readers only ever see what has its numbers. Every process may move; the database lets one at a time, and
 * a process that dies in the middle holds nobody up, because moving is one statement.
 *
 * A change does not NOTIFY: that would queue up the commits of all writers. Its process moves it, and moving notifies.
 */
import { sql } from "kysely";
import type { Stop } from "./contract.ts";
import { hot, query } from "./db.ts";
import { type Cursors, createCursors } from "./event-cursor.ts";
import type { Kernel } from "./kernel.ts";

const mostMoved = 1_000;
const pollMs = 500;
/** Under load news are moved together: as many statements a second as this allows, however many changes. */
const pauseMs = 15;

export type EventLog = {
  cursors: Cursors;
  /** Moves what was just committed. */
  wake(): void;
  /** Resolves when the log has gone on beyond a position, after `waitMs`, or when the server or `signal` ends it. */
  newsAfter(position: number, waitMs: number, signal?: AbortSignal): Promise<void>;
  /** Aborted when the server stops: whoever follows the log ends now. */
  closing: AbortSignal;
  /** Ends all waiting; calls under way can then be answered. */
  release(): void;
  stop: Stop;
};

const move = hot<{ at: Date; most: number }, { moved: number; head: number }>("log_news", ({ at, most }) =>
  query(sql`select moved, head from kernel.log_news(${at}, ${most})`),
);

export async function startEventLog(kernel: Pick<Kernel, "system" | "listener" | "log" | "now">): Promise<EventLog> {
  const system = kernel.system.in("");
  await system.run(query(sql`select kernel.begin_epoch()`));
  const state = await system.first(
    query<{ cursor_key: Buffer; head_position: number }>(sql`select cursor_key, head_position from kernel.log_state`),
  );
  const closing = new AbortController();
  const waiting = new Map<() => void, number>();
  let head = state!.head_position;
  let moving: Promise<void> | null = null;
  let again = false;

  function reached(position: number): void {
    if (position <= head) return;
    head = position;
    for (const [finish, after] of waiting) if (after < head) finish();
  }

  async function moveAll(): Promise<void> {
    do {
      again = false;
      const outcome = (await system.first(move({ at: kernel.now(), most: mostMoved })))!;
      reached(outcome.head);
      if (outcome.moved === mostMoved) again = true;
      else if (outcome.moved > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    } while (again && !closing.signal.aborted);
  }

  function wake(): void {
    if (closing.signal.aborted) return;
    again = true;
    moving ??= moveAll()
      .catch((error) => kernel.log.warn({ err: error }, "the event log waits for the database"))
      .finally(() => {
        moving = null;
      });
  }

  const timer = setInterval(wake, pollMs);
  timer.unref();
  await kernel.listener.listen("demarc_event", (payload) => (payload === null ? wake() : reached(Number(payload))));
  wake();

  return {
    cursors: createCursors(state!.cursor_key),
    wake,
    newsAfter(position, waitMs, signal) {
      if (head > position || closing.signal.aborted || signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const limit = setTimeout(finish, waitMs);
        signal?.addEventListener("abort", finish, { once: true });
        waiting.set(finish, position);
        function finish(): void {
          clearTimeout(limit);
          signal?.removeEventListener("abort", finish);
          waiting.delete(finish);
          resolve();
        }
      });
    },
    closing: closing.signal,
    release() {
      closing.abort();
      clearInterval(timer);
      for (const finish of [...waiting.keys()]) finish();
    },
    async stop() {
      await moving;
    },
  };
}
