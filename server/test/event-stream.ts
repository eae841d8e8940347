/** An event stream, read as a browser would (HTML, section 9.2.6). */
import { sawEvent } from "./wire.ts";

export type Message = { id?: string; event?: string; data?: string };

export function followStream(url: string, headers: Record<string, string>, query = "?from=now", label = "v1") {
  const abort = new AbortController();
  const messages: Message[] = [];
  const comments: string[] = [];
  let ended = false;
  const opened = fetch(`${url}/${label}/event-stream${query}`, { headers, signal: abort.signal });
  const done = (async () => {
    const reply = await opened;
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of reply.body!) {
      rest += decoder.decode(chunk, { stream: true });
      for (let at = rest.indexOf("\n\n"); at >= 0; at = rest.indexOf("\n\n")) {
        const message: Message = {};
        for (const line of rest.slice(0, at).split("\n")) {
          if (line.startsWith(":")) comments.push(line);
          const [, name, value] = /^(id|event|data): (.*)$/.exec(line) ?? [];
          if (name) message[name as keyof Message] = value;
        }
        rest = rest.slice(at + 2);
        if (!message.data) continue;
        messages.push(message);
        if (message.event !== "end") sawEvent(message.data, { stream: message });
      }
    }
    ended = true;
  })().catch(() => {});
  return { opened, messages, comments, done, isEnded: () => ended, cut: () => abort.abort() };
}
