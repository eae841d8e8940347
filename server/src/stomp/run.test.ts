import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Delivery } from "./contract.ts";
import { isText, renderFrame } from "./frame.ts";
import { createOutbox } from "./outbox.ts";
import { type Form, type Run, type Stencils, singleFrames, stencilOf } from "./run.ts";
import { sharedEvent } from "./session.fixture.ts";

const batchOf = (count: number): Delivery[] =>
  Array.from({ length: count }, (_, index) => ({
    position: index + 1,
    eventId: `evt_${index + 1}`,
    deliveries: 1,
    shared: sharedEvent(index + 1),
  }));

function runOf(batch: readonly Delivery[], first: number, stencils: Stencils, id = "sub-0"): Run {
  const headers = [
    ["destination", "/topic/event"],
    ["subscription", id],
  ] as const;
  return { kind: "run", batch, first, stencils, subscription: { headers, likeness: JSON.stringify(headers) } };
}

/** A socket that takes all at once, or keeps all, without a copy of its own. */
function sink(takes: boolean) {
  const chunks: Uint8Array[] = [];
  const octets = () => Buffer.concat(chunks);
  return {
    octets,
    write(bytes: Uint8Array) {
      chunks.push(takes ? Buffer.from(bytes) : bytes);
    },
    get writableLength() {
      return takes ? 0 : octets().length;
    },
  };
}

function octetsOf(run: Run, form: Form): Buffer {
  const outbox = createOutbox(form.isWebSocket);
  const socket = sink(true);
  for (const frame of singleFrames(run)) outbox.add(renderFrame(frame, form.version), form.asText && isText(frame));
  outbox.send(socket, () => {});
  return socket.octets();
}

const anyForm = fc.record<Form>({
  version: fc.constantFrom("1.0", "1.1", "1.2"),
  isWebSocket: fc.boolean(),
  asText: fc.boolean(),
});

test("whatever sessions are given a batch, one after another, each is sent what single frames would be", () => {
  const listener = fc.record({
    form: anyForm,
    first: fc.oneof(fc.integer({ min: 1, max: 120 }), fc.integer({ min: 1, max: 2 ** 50 })),
    id: fc.constantFrom("sub-0", "sub-1", "a:b\\c"),
    takes: fc.boolean(),
    /** A frame of its own stands before the run, so that both are put together. */
    hasMore: fc.boolean(),
  });
  let cut = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(listener, { minLength: 1, maxLength: 20 }), (count, all) => {
      const [batch, stencils]: [Delivery[], Stencils] = [batchOf(count), []];
      const sent = all.map(({ form, first, id, takes, hasMore }) => {
        const run = runOf(batch, first, stencils, id);
        const [outbox, socket] = [createOutbox(form.isWebSocket), sink(takes)];
        const more = createOutbox(form.isWebSocket);
        const stencil = stencilOf(run, form);
        if (stencil === null) return null;
        cut++;
        const own = { own: "RECEIPT\nreceipt-id:1\n\n\0", shared: null };
        if (hasMore) for (const box of [outbox, more]) box.add(own, form.asText);
        outbox.addRun(stencil, first);
        const before = sink(true);
        if (hasMore) more.send(before, () => {});
        const expected = Buffer.concat([before.octets(), octetsOf(run, form)]);
        assert.equal(outbox.bytes(), expected.length);
        outbox.send(socket, () => {});
        return { socket, expected };
      });
      // Looked at when all have been sent theirs: what waits in one socket is not changed for the next.
      for (const one of sent) if (one !== null) assert.deepEqual(one.socket.octets(), one.expected);
    }),
  );
  assert.ok(cut > 100);
});

test("numbers of two widths have no stencil, and a batch has no more than eight", () => {
  const form: Form = { version: "1.2", isWebSocket: true, asText: true };
  const stencils: Stencils = [];
  const batch = batchOf(3);
  for (const [first, fits] of [
    [1, true],
    [7, true],
    [8, false],
    [9, false],
    [10, true],
    [98, false],
    [100, true],
  ] as const)
    assert.equal(stencilOf(runOf(batch, first, stencils), form) !== null, fits, String(first));
  assert.equal(stencils.length, 3);
  for (let n = 0; n < 20; n++) stencilOf(runOf(batch, 1, stencils, `id-${n}`), form);
  assert.equal(stencils.length, 8);
  assert.notEqual(stencilOf(runOf(batch, 5, stencils), form), null);
});
