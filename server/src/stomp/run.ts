/**
 * A run: MESSAGEs that many sessions are sent alike but for their numbers. Their octets are put together once for all
 * of them, as a stencil, and each session's numbers are filled in before it leaves.
 */
import type { Delivery } from "./contract.ts";
import { type Header, isText, type OutFrame, renderFrame, type Version } from "./frame.ts";
import { headBytes, putHead } from "./message-head.ts";
import type { Subscription } from "./subscription.ts";

export type Run = {
  kind: "run";
  batch: readonly Delivery[];
  /** The number of the first. */
  first: number;
  subscription: Pick<Subscription, "headers" | "likeness">;
  stencils: Stencils;
};

/** How the octets of a run are to be written. */
export type Form = { version: Version | null; isWebSocket: boolean; asText: boolean };

/** Octets with room for the numbers, which are all of one width. */
export type Stencil = Form & { likeness: string; octets: Buffer; numberAt: readonly number[]; width: number };

/** Those of one batch, for all sessions that are given it. */
export type Stencils = Stencil[];

/** Subscriptions that differ in more than numbers need one each; what is rarely shared is not worth its memory. */
const keptStencils = 8;

/** A MESSAGE; its `message-id` comes first, since a stencil has to find the number in it. */
export function messageFrame(messageId: string, headers: readonly Header[], rest: Delivery["shared"]): OutFrame {
  return { kind: "frame", command: "MESSAGE", headers: [["message-id", messageId], ...headers], rest };
}

/** The same as single frames. */
export function singleFrames({ batch, first, subscription }: Run): OutFrame[] {
  return batch.map(({ eventId, shared }, index) =>
    messageFrame(`${eventId}.${first + index}`, subscription.headers, shared),
  );
}

/** The run's stencil; null: its numbers are of two widths, or there are too many others. */
export function stencilOf(run: Run, form: Form): Stencil | null {
  const { batch, first, subscription, stencils } = run;
  const { likeness } = subscription;
  const width = widthOf(first);
  if (widthOf(first + batch.length - 1) !== width) return null;
  for (const one of stencils) if (one.width === width && one.likeness === likeness && fits(one, form)) return one;
  if (stencils.length >= keptStencils) return null;
  const made = { ...form, likeness, width, ...cutStencil(run, form) };
  stencils.push(made);
  return made;
}

function fits(stencil: Form, { version, isWebSocket, asText }: Form): boolean {
  return stencil.version === version && stencil.isWebSocket === isWebSocket && stencil.asText === asText;
}

function widthOf(number: number): number {
  let width = 1;
  for (let above = 10; above <= number; above *= 10) width++;
  return width;
}

function cutStencil(run: Run, { version, isWebSocket, asText }: Form): Pick<Stencil, "octets" | "numberAt"> {
  const parts: Uint8Array[] = [];
  const numberAt: number[] = [];
  let place = 0;
  function put(octets: Uint8Array): void {
    parts.push(octets);
    place += octets.length;
  }
  for (const [index, frame] of singleFrames(run).entries()) {
    const { own, shared } = renderFrame(frame, version);
    const start = Buffer.from(own);
    const length = start.length + shared!.length;
    if (isWebSocket) {
      const head = Buffer.alloc(headBytes(length));
      putHead(head, 0, length, asText && isText(frame));
      put(head);
    }
    numberAt.push(place + `MESSAGE\nmessage-id:${run.batch[index]!.eventId}.`.length);
    put(start);
    put(shared!);
  }
  return { octets: Buffer.concat(parts), numberAt };
}

/** Fills in the numbers from `first` on, into octets of the stencil that stand at `place`. */
export function putNumbers(octets: Buffer, place: number, { numberAt, width }: Stencil, first: number): void {
  let number = first;
  for (const at of numberAt) {
    let rest = number++;
    for (let digit = place + at + width - 1; digit >= place + at; digit--) {
      octets[digit] = 48 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
  }
}
