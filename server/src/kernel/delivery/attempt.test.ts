import assert from "node:assert/strict";
import { test } from "node:test";
import { startReceiver } from "../../../test/receiver.ts";
import { createOutbound } from "../outbound.ts";
import { createAddressGuard } from "../outbound-guard.ts";
import { afterAttempt, attempt } from "./attempt.ts";

const at = new Date("2026-11-22T10:00:00.000Z");
const guard = createAddressGuard({ allow: ["127.0.0.0/8"] });
const outbound = createOutbound({ guard, userAgent: "Demarc/test" });
const retrySeconds = [100, 1_000];
const receiver = await startReceiver();

async function answered(status: number, headers: Record<string, string> = {}, tries = 1) {
  receiver.answer = (_, response) => void response.writeHead(status, headers).end();
  const address = { url: receiver.url, headers: {}, keys: { v1: [], v1a: [] } };
  const made = await attempt(outbound, {
    address,
    message: { contentType: "text/plain", body: "x" },
    messageId: "id",
    at,
  });
  const next = afterAttempt(made, tries, retrySeconds);
  const seconds = (when: Date | null) => when && (when.getTime() - at.getTime()) / 1_000;
  return {
    outcome: made.outcome,
    status: next.status,
    next: seconds(next.nextAttemptAt),
    paused: seconds(next.pausedUntil),
  };
}

const inSchedule = (wait: number | null, seconds: number) =>
  assert.ok(wait! >= seconds * 0.8 && wait! <= seconds * 1.2, `${wait} is not about ${seconds}`);

test("429, and 503 with Retry-After, make the target pause: seconds or a date, a day at most", async () => {
  const date = (seconds: number) => new Date(at.getTime() + seconds * 1_000).toUTCString();
  for (const status of [429, 503]) {
    for (const [value, seconds] of [
      ["120", 120],
      ["1", 1],
      [date(3_600), 3_600],
      ["999999", 86_400],
      [date(200_000), 86_400],
      [date(-60), 0],
    ] as const) {
      const got = await answered(status, { "retry-after": value });
      assert.deepEqual(got, { outcome: "throttled", status: "retrying", next: seconds, paused: seconds }, value);
    }
  }
});

test("429 without a Retry-After that can be read pauses for the next wait; such a 503 is an ordinary failure", async () => {
  for (const headers of [{}, { "retry-after": "soon" }] as Record<string, string>[]) {
    const busy = await answered(429, headers);
    assert.deepEqual([busy.outcome, busy.paused], ["throttled", busy.next]);
    inSchedule(busy.paused, 100);
    const down = await answered(503, headers);
    assert.deepEqual([down.outcome, down.paused], ["http_error", null]);
    inSchedule(down.next, 100);
  }
});

test("of any other failure a Retry-After longer than the wait wins, a shorter one does not", async () => {
  assert.deepEqual(await answered(500, { "retry-after": "7200" }), {
    outcome: "http_error",
    status: "retrying",
    next: 7_200,
    paused: null,
  });
  inSchedule((await answered(500, { "retry-after": "1" })).next, 100);
  inSchedule((await answered(500, {}, 2)).next, 1_000);
});

test("a try that the schedule has no wait after is the last, and so is a 410", async () => {
  assert.deepEqual(await answered(500, {}, 3), { outcome: "http_error", status: "dead", next: null, paused: null });
  assert.equal((await answered(410)).status, "dead");
  const throttled = await answered(429, { "retry-after": "60" }, 3);
  assert.deepEqual([throttled.status, throttled.next, throttled.paused], ["dead", null, 60]);
});
