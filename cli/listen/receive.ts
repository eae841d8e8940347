/**
 * The receiver: connects, works off event after event, keeps the place, connects again. The order of work is what makes
 * it lose nothing: an event is printed, forwarded, and only then is its place kept.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Channel, News } from "./channel.ts";
import type { Credential } from "./credential.ts";
import { Broken, CredentialRefused, PlaceExpired, Stop } from "./faults.ts";
import { forward } from "./forward.ts";
import type { Options } from "./options.ts";
import type { Place } from "./place.ts";
import { overPoll } from "./poll.ts";
import { prettyLine } from "./pretty.ts";
import { overStomp } from "./stomp.ts";
import { overStream } from "./stream.ts";

const channels: Record<Options["transport"], Channel> = { stomp: overStomp, stream: overStream, poll: overPoll };

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
const mostRefusals = 3;

type Parts = {
  options: Options;
  credential: Credential;
  place: Place;
  /** A signal came: the event at hand is finished, none is begun. */
  stop: AbortSignal;
  /** Resolves when the line has left this process. */
  print(line: string): Promise<void>;
  /** Tells a person; not asked for when only what ends the command is of interest. */
  say(words: string): void;
};

/**
 * Listens until it is stopped or has printed as many events as the options want.
 * @throws Stop for every other end
 */
export async function receive(parts: Parts): Promise<void> {
  const { options, place, stop, say } = parts;
  const work = worker(parts);
  let pauseMs = firstPauseMs;
  let refusals = 0;
  let isHeard = false;
  while (!stop.aborted) {
    let retryAfterMs = 0;
    try {
      const credential = await parts.credential(stop);
      const cursor = place.cursor();
      for await (const news of channels[options.transport]({ options, credential, cursor, stop })) {
        if (news.kind === "place") {
          if (!isHeard) say(`Listening to ${options.destination} at ${options.url}, ${beginningOf(options, cursor)}.`);
          [refusals, pauseMs, isHeard] = [0, firstPauseMs, true];
        }
        if ((await work(news)) === "done" || stop.aborted) return;
      }
    } catch (error) {
      isHeard = false;
      if (stop.aborted && !(error instanceof Stop)) return;
      if (error instanceof PlaceExpired) throw expired(options, place, error);
      if (error instanceof CredentialRefused && ++refusals >= mostRefusals)
        throw new Stop("credential", `The credential was refused ${mostRefusals} times. ${sentence(error.message)}`);
      if (!(error instanceof Broken || error instanceof CredentialRefused)) throw error;
      if (error instanceof Broken) ({ retryAfterMs } = error);
      const waitMs = Math.max(pauseMs * (1 + Math.random() / 4), retryAfterMs);
      say(`${sentence(error.message)} Again in ${(waitMs / 1_000).toFixed(1)} s.`);
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
      await pause(waitMs, undefined, { signal: stop }).catch(() => {});
    }
  }
}

function beginningOf({ keeps, from }: Options, cursor: string | null): string {
  if (keeps.in === "queue") return "with whoever else shares it";
  if (keeps.in === "durable") return `as ${keeps.name}`;
  return cursor === null ? `from ${from}` : `from where ${keeps.file} says`;
}

/** Works off one piece of news; "done": that was the last one wanted. */
function worker({ options, place, stop, print, say }: Parts) {
  let printed = 0;
  return async (news: News): Promise<"done" | "more"> => {
    if (news.kind === "place") {
      if (news.cursor !== null && news.cursor !== place.cursor()) place.keep(news.cursor);
      return "more";
    }
    const { id, text, cursor, settle } = news;
    if (!place.knows(id)) {
      await print(options.format === "json" ? oneLine(text) : prettyLine(text));
      if (options.forward && !(await forward(options.forward, news, stop, say))) return "done";
      place.remember(id);
      printed++;
    }
    if (cursor !== null && options.keeps.in === "file") place.keep(cursor);
    settle();
    return printed >= options.count ? "done" : "more";
  };
}

/** A line break in JSON is only ever a blank between its parts. */
const oneLine = (text: string): string => text.replaceAll(/[\r\n]+/g, " ");

const sentence = (words: string): string => (/[.!?]$/.test(words) ? words : `${words}.`);

function expired({ keeps }: Options, place: Place, { oldestCursor }: PlaceExpired): Stop {
  const another = keeps.in === "durable" ? " and another --durable" : "";
  const first = keeps.in === "file" && place.cursor() !== null ? `remove ${keeps.file} and ` : "";
  return new Stop(
    "place",
    `The log no longer keeps the place to go on from: what came after it is lost. What it still keeps begins at the cursor ${oldestCursor}: ${first}start again with --from ${oldestCursor}${another}`,
  );
}
