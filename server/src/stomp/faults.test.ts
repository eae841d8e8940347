import assert from "node:assert/strict";
import { test } from "node:test";
import type { Input } from "./contract.ts";
import { type FaultCode, faults } from "./faults.ts";
import {
  agree,
  begin,
  chatSettings,
  connectedDriver,
  type Driver,
  eventsOf,
  framesOf,
  give,
  newDriver,
  pass,
  receive,
  run,
  sends,
  settings,
  settleAll,
  subscribeFrame,
  wishesOf,
} from "./session.fixture.ts";

/** The shell refuses the first wish of this kind. */
const isRefused = (kind: "authenticate" | "open", code: FaultCode) => (driver: Driver) => {
  receive(driver, kind === "open" ? subscribeFrame("a") : "CONNECT\naccept-version:1.2\n\n\0");
  const wish = wishesOf(
    settleAll(driver, () => null),
    kind,
  )[0]!;
  give(driver, { kind: "refused", wish: wish.id, refusal: { code } });
  pass(driver, 250);
};
const isEnded = (code: FaultCode) => (driver: Driver) => give(driver, { kind: "end", refusal: { code } });
const fresh = () => newDriver();
const connected = () => connectedDriver("1.2");
const chatting = () => connectedDriver("1.2", chatSettings);

/** One way at least to every fault. */
const ways: Record<FaultCode, [start: () => Driver, act: (driver: Driver) => void]> = {
  not_connected: [fresh, sends(subscribeFrame("a"))],
  already_connected: [connected, sends("STOMP\naccept-version:1.2\n\n\0")],
  unknown_command: [connected, sends("MESSAGE\n\n\0")],
  version_not_supported: [fresh, sends("CONNECT\naccept-version:\n\n\0")],
  header_missing: [connected, sends("COMMIT\n\n\0")],
  header_invalid: [connected, sends(subscribeFrame("a", "destination:/topic/event\nprefetch-count:1001\n"))],
  header_conflict: [fresh, sends("CONNECT\naccept-version:1.2\nx-api-key:a\nX-API-Key:a\n\n\0")],
  header_reserved: [chatting, sends("SEND\ndestination:/topic/a\ncursor:c\n\n\0")],
  body_not_allowed: [connected, sends("BEGIN\ntransaction:t\n\nx\0")],
  subscription_open: [connected, sends(subscribeFrame("a") + subscribeFrame("a"))],
  subscription_unknown: [connected, sends("UNSUBSCRIBE\nid:a\n\n\0")],
  ack_unknown: [connected, sends("ACK\nid:evt_1.1\n\n\0")],
  transaction_open: [connected, sends(begin("t") + begin("t"))],
  transaction_unknown: [connected, sends("ABORT\ntransaction:t\n\n\0")],
  heart_beat_missed: [() => connectedDriver("1.2", {}, "heart-beat:10000,0\n"), (driver) => pass(driver, 20_000)],
  frame_malformed: [connected, sends("SEND\nx\n\n\0")],
  limit_exceeded: [fresh, sends("\n".repeat(16 * 1024 + 1))],
  internal_error: [connected, isEnded("internal_error")],
  sessions_full: [fresh, isRefused("authenticate", "sessions_full")],
  authentication_failed: [fresh, isRefused("authenticate", "authentication_failed")],
  login_timeout: [fresh, (driver) => pass(driver, settings.loginMs)],
  permission_missing: [fresh, isRefused("authenticate", "permission_missing")],
  tenant_suspended: [fresh, isRefused("authenticate", "tenant_suspended")],
  api_not_enabled: [fresh, isRefused("authenticate", "api_not_enabled")],
  service_not_enabled: [fresh, isRefused("authenticate", "service_not_enabled")],
  version_unknown: [fresh, isRefused("authenticate", "version_unknown")],
  token_expired: [
    fresh,
    (driver) => {
      receive(driver, "CONNECT\n\n\0");
      settleAll(driver, (wish) => {
        const answer = agree(wish);
        return answer?.kind === "authenticated" ? { ...answer, expiresAt: 5000 } : answer;
      });
      pass(driver, 5000);
    },
  ],
  session_ended: [connected, isEnded("session_ended")],
  destination_not_available: [connected, isRefused("open", "destination_not_available")],
  send_refused: [connected, sends("SEND\ndestination:/topic/a\n\nx\0")],
  cursor_unknown: [connected, isRefused("open", "cursor_unknown")],
  position_expired: [connected, isRefused("open", "position_expired")],
  durable_differs: [connected, isRefused("open", "durable_differs")],
  ack_mode_required: [connected, sends(subscribeFrame("a", "destination:/topic/event\ndurable:d\n"))],
  taken_over: [connected, isEnded("taken_over")],
  slow_consumer: [connected, isEnded("slow_consumer")],
};

for (const [code, [start, act]] of Object.entries(ways)) {
  const [closeCode] = faults[code as FaultCode];
  test(`${code} can be reached, and closes with ${closeCode}`, () => assert.equal(run(start(), act), code));
}

test("every fault has the close code of its kind", () => {
  const byCloseCode = Map.groupBy(Object.entries(faults), ([, [closeCode]]) => closeCode);
  const sizes = [...byCloseCode].map(([closeCode, codes]) => [closeCode, codes.length]);
  assert.deepEqual(Object.fromEntries(sizes), { 1002: 15, 1007: 1, 1008: 17, 1009: 1, 1011: 1, 1013: 1 });
});

test("an ERROR says what the specification lists, and nothing of the frame", () => {
  for (const [code, [start, act]] of Object.entries(ways)) {
    const driver = start();
    act(driver);
    const error = framesOf(settleAll(driver)).at(-1)!;
    const [head, body] = error.slice(0, -1).split("\n\n");
    const headers = new Map(
      head!
        .split("\n")
        .slice(1)
        .map((line) => line.split(":", 2) as [string, string]),
    );
    for (const value of headers.values()) assert.match(value, /^[A-Za-z0-9._\-/+=; ,]*$/);
    assert.equal(headers.get("code"), code);
    assert.equal(headers.get("content-type"), "application/problem+json");
    assert.equal(headers.get("content-length"), String(Buffer.byteLength(body!)));
    assert.deepEqual(Object.keys(JSON.parse(body!)), ["code", "detail", "requestId"]);
  }
});

test("frames that arrive after the end have no effect", () => {
  for (const [start, act] of Object.values(ways)) {
    const driver = start();
    act(driver);
    settleAll(driver);
    receive(driver, subscribeFrame("z") + begin("t"));
    for (const input of [{ kind: "clock" }, { kind: "gone" }, eventsOf(1, [1]), { kind: "shutdown" }] as Input[])
      give(driver, input);
    pass(driver, 100_000);
    assert.deepEqual(driver.emitted, []);
  }
});
