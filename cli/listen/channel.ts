/** What all three ways to hear the news have in common, and what the two over plain HTTP do. */
import { Broken, faultOfReply, wordsOf } from "./faults.ts";
import type { Filter, Options } from "./options.ts";

/** An event, or a place without one: at first where the listening begins, if it is for the receiver to keep. */
export type News =
  | { kind: "place"; cursor: string | null }
  | {
      kind: "event";
      id: string;
      /** The event as one line of JSON, octet for octet as a webhook would send it. */
      text: string;
      /** The place after it; null: the server keeps it. */
      cursor: string | null;
      /** Tells the server that the work is done, where it wants to know. */
      settle(): void;
    };

type Ask = {
  options: Options;
  /** The headers that carry the credential. */
  credential: Record<string, string>;
  /** Where to go on; null: where the options say. */
  cursor: string | null;
  stop: AbortSignal;
};

/**
 * One connection. Its first news says that it stands. It ends by throwing: Broken, CredentialRefused, PlaceExpired or
 * Stop; or with whatever comes of `stop`.
 */
export type Channel = (ask: Ask) => AsyncGenerator<News, void>;

/** An address of the log with what is heard there. */
export function logAddress({ options }: Ask, path: "event-log" | "event-stream", more: Record<string, string>): string {
  const { version, types, subject } = options.filter as Filter;
  const query = new URLSearchParams(more);
  if (types) query.set("types", types);
  if (subject) query.set("subject", subject);
  if (options.below) query.set("includeBelow", "true");
  return `${options.url}/${version}/${path}?${query}`;
}

/** Where to begin, as the log takes it: a cursor is no word, and no instant. */
export function beginning({ options, cursor }: Ask): Record<string, string> {
  if (cursor !== null) return { cursor };
  const from = options.from!;
  return from === "now" || from === "start" || from.includes(":") ? { from } : { cursor: from };
}

/** A GET of the log; rejects with what follows from any reply but a success. */
export async function read(
  { options, credential }: Ask,
  address: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const acting: Record<string, string> = options.tenant ? { "demarc-tenant": options.tenant } : {};
  // Not followed: a redirect would carry the credential elsewhere.
  const asked = fetch(address, { headers: { ...credential, ...acting, ...headers }, redirect: "manual", signal });
  const reply = await asked.catch((error: unknown) => {
    throw new Broken(`${options.url} does not answer: ${wordsOf(error)}`);
  });
  if (!reply.ok) throw await faultOfReply(reply);
  return reply;
}
