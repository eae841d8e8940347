/** News from the event stream (Server-Sent Events, HTML Living Standard, section 9.2). */
import { beginning, type Channel, logAddress, read } from "./channel.ts";
import { Broken, wordsOf } from "./faults.ts";

/** The server says something every 15 s. */
const silenceMs = 45_000;
const replyMs = 30_000;

export const overStream: Channel = async function* (ask) {
  let start = beginning(ask);
  let { cursor } = ask;
  if (start.from === "now") {
    // The stream names a place only with an event: a break before the first one would lose what lies between.
    const address = logAddress(ask, "event-log", { ...start, limit: "1" });
    const reply = await read(ask, address, {}, AbortSignal.any([ask.stop, AbortSignal.timeout(replyMs)]));
    cursor = ((await reply.json()) as { nextCursor: string }).nextCursor;
    start = { cursor };
  }
  const silence = new AbortController();
  const watch = watchdog(() => silence.abort());
  try {
    const address = logAddress(ask, "event-stream", start);
    const { body } = await read(ask, address, {}, AbortSignal.any([ask.stop, silence.signal]));
    yield { kind: "place", cursor };
    for await (const { id, event, data } of messages(body!, watch)) {
      if (event === "end") throw new Broken(`The server ended the stream: ${data}`);
      const { id: eventId } = JSON.parse(data) as { id: string };
      yield { kind: "event", id: eventId, text: data, cursor: id, settle: () => {} };
    }
  } finally {
    watch.end();
  }
  throw new Broken("The stream ended.");
};

/** Calls when nothing has been heard for too long; stands still while nobody reads. */
function watchdog(bark: () => void) {
  let timer = setTimeout(bark, silenceMs);
  return {
    wait(): void {
      clearTimeout(timer);
      timer = setTimeout(bark, silenceMs);
    },
    end: () => clearTimeout(timer),
  };
}

type Message = { id: string; event: string; data: string };

async function* messages(
  body: ReadableStream<Uint8Array>,
  watch: ReturnType<typeof watchdog>,
): AsyncGenerator<Message, void> {
  const fields = { id: "", event: "", data: "" };
  for await (const line of linesOf(body, watch)) {
    if (line === "") {
      if (fields.data) yield { ...fields };
      Object.assign(fields, { event: "", data: "" });
      continue;
    }
    const [, name, value = ""] = /^([^:]*):? ?(.*)$/.exec(line)!;
    if (name === "data" && fields.data) fields.data += `\n${value}`;
    else if (name === "id" || name === "event" || name === "data") fields[name] = value;
  }
}

async function* linesOf(
  body: ReadableStream<Uint8Array>,
  watch: ReturnType<typeof watchdog>,
): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of body) {
      watch.end();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) yield line.replace(/\r$/, "");
      watch.wait();
    }
  } catch (error) {
    throw new Broken(`The stream broke off: ${wordsOf(error)}`);
  }
}
