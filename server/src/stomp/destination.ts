// The destinations that exist, compared octet by octet: no wildcard, no folding of per cent or dots.

/** A destination by its meaning. `label` is a version of the API, null: the connection's. */
export type Destination =
  | { kind: "events"; label: string | null; service: string | null; noun: string | null; resource: string | null }
  /** `isChat`: the queue may be one of the chat profile, made by its first use, unless an event queue has the name. */
  | { kind: "queue"; label: string | null; name: string; isChat: boolean }
  | { kind: "operations"; label: string | null }
  | { kind: "session" }
  | { kind: "chatTopic"; name: string };

const maxBytes = 255;
const label = "(?:/(v[1-9][0-9]*))?";
const event = new RegExp(`^/topic${label}/event(?:/([A-Za-z0-9_-]+)(?:\\.([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_.-]+))?)?)?$`);
const queue = new RegExp(`^/queue${label}/([A-Za-z0-9_.-]+)$`);
const operations = new RegExp(`^/user/queue${label}/operation$`);
const reservedSegment = /^(?:event|v[0-9]+|latest|beta)$/;

/** `stomp.chat.patterns` as one expression: `*` is any run of octets but control ones. */
export function compileChatPatterns(patterns: readonly string[]): RegExp {
  const alternatives = patterns.map((pattern) =>
    pattern
      .split("*")
      .map((part) => part.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"))
      .join("[^\\x00-\\x1f\\x7f]*"),
  );
  return new RegExp(`^(?:${alternatives.join("|")})$`);
}

/** What a destination's text means, null: nothing. `chat` are the compiled patterns of the chat profile, else null. */
export function parseDestination(text: string, chat: RegExp | null): Destination | null {
  if (Buffer.byteLength(text) > maxBytes) return null;
  const topic = event.exec(text);
  if (topic !== null) {
    const [, label = null, service = null, noun = null, resource = null] = topic;
    return { kind: "events", label, service, noun, resource };
  }
  const isChat = chat !== null && isChatDestination(text, chat);
  const named = queue.exec(text);
  if (named !== null) return { kind: "queue", label: named[1] ?? null, name: named[2]!, isChat };
  const own = operations.exec(text);
  if (own !== null) return { kind: "operations", label: own[1] ?? null };
  if (text === "/user/queue/session") return { kind: "session" };
  if (!isChat) return null;
  const name = text.slice("/topic/".length);
  return text.startsWith("/topic/") ? { kind: "chatTopic", name } : { kind: "queue", label: null, name, isChat: true };
}

function isChatDestination(text: string, chat: RegExp): boolean {
  const [, first, second = ""] = text.split("/");
  return (first === "topic" || first === "queue") && second !== "" && !reservedSegment.test(second) && chat.test(text);
}
