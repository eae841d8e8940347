/** Events as the part of a MESSAGE that all subscribers of a version share: made once, kept while they are fresh. */
import { LRUCache } from "lru-cache";
import { type EventBatch, type LoggedEvent, placeAfter } from "#kernel/event-reader";
import { renderEvent } from "#kernel/event-view";
import { eventKind } from "#kernel/events";
import type { Kernel } from "#kernel/kernel";
import { type Shared, share } from "../../../stomp/frame.ts";

const keptBytes = 16 * 1_048_576;

export type Render = (batch: Pick<EventBatch, "who" | "head">, event: LoggedEvent, version: string) => Shared;

export function createRender(kernel: Kernel): Render {
  const made = new LRUCache<string, Shared>({
    maxSize: keptBytes,
    // Its body, and a rendering in each version of STOMP.
    sizeCalculation: ({ body }) => body.length * 3 + 1_024,
  });
  return (batch, event, version) => {
    const { who, head } = batch;
    const isWhole = eventKind(event.type)?.isWholeFor?.(who) ?? true;
    const isRedacted = event.data.redacted === true;
    const key = `${head.epoch} ${event.position} ${version} ${who.acting.id} ${isWhole} ${isRedacted}`;
    let shared = made.get(key);
    if (!shared) {
      shared = share(
        [
          ["content-type", "application/cloudevents+json;charset=utf-8"],
          ["event-id", event.id],
          ["event-type", event.type],
          ["cursor", kernel.events.cursors.write(placeAfter(batch, event), who.acting.id)],
        ],
        Buffer.from(renderEvent(kernel, event, version, who)),
      );
      made.set(key, shared);
    }
    return shared;
  };
}
