import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Input } from "./contract.ts";
import { type FaultCode, faults } from "./faults.ts";
import type { Version } from "./frame.ts";
import {
  agree,
  chatSettings,
  connectedDriver,
  type Driver,
  type Emitted,
  eventsOf,
  exchange,
  framesOf,
  give,
  newDriver,
  pass,
  receive,
  settings,
  settleAll,
  sharedEvent,
  wishesOf,
} from "./session.fixture.ts";
import { startSession, step, takesFrame } from "./session.ts";

const subscribeFrame = (id: string, rest = "destination:/topic/event\n") => `SUBSCRIBE\nid:${id}\n${rest}\n\0`;
const begin = (name: string) => `BEGIN\ntransaction:${name}\n\n\0`;

/** The code of the fault that ended the session, checked for its form. */
function endOf(driver: Driver, emitted: readonly Emitted[]): FaultCode | null {
  const hangUps = wishesOf(emitted, "hangUp");
  assert.ok(hangUps.length <= 1);
  const end = hangUps[0];
  if (end === undefined) return null;
  assert.equal(driver.state.phase, "ended");
  const errors = framesOf(emitted).filter((frame) => frame.startsWith("ERROR\n"));
  if (end.fault === null) {
    assert.equal(errors.length, 0);
    return null;
  }
  assert.equal(end.closeCode, faults[end.fault][0]);
  assert.equal(errors.length, 1);
  assert.equal(framesOf(emitted).at(-1), errors[0], "something follows the ERROR");
  return end.fault;
}

function run(driver: Driver, act: (driver: Driver) => void): FaultCode | null {
  act(driver);
  return endOf(driver, settleAll(driver));
}

const sends = (text: string) => (driver: Driver) => receive(driver, text);
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

test("each limit of a session admits what just fits and refuses one more", () => {
  const many = (count: number, frame: (index: number) => string) => {
    const driver = chatting();
    for (let index = 0; index < count; index++) {
      receive(driver, frame(index));
      const end = endOf(driver, settleAll(driver));
      if (end !== null) return [end, index];
      pass(driver, 10);
    }
    return null;
  };
  assert.deepEqual(
    many(200, (index) => subscribeFrame(String(index))),
    ["limit_exceeded", 100],
  );
  assert.deepEqual(
    many(20, (index) => begin(String(index))),
    ["limit_exceeded", 10],
  );
  const join = (body: string) => (index: number) =>
    index === 0 ? begin("t") : `SEND\ndestination:/topic/a\ntransaction:t\n\n${body}\0`;
  assert.deepEqual(many(1500, join("x")), ["limit_exceeded", 1001]);
  assert.deepEqual(many(10, join("x".repeat(1024 * 1024 - 100))), ["limit_exceeded", 5]);
  const spread = (index: number) =>
    index < 4
      ? begin(String(index))
      : `SEND\ndestination:/topic/a\ntransaction:${index % 4}\n\n${"x".repeat(900_000)}\0`;
  assert.deepEqual(many(20, spread), ["limit_exceeded", 8]);
});

test("frames above 100 a second, 200 at once, are read later and not refused", () => {
  const driver = connected();
  pass(driver, 5000);
  receive(
    driver,
    Array.from(
      { length: 400 },
      (_, index) => `BEGIN\ntransaction:${index}\n\n\0ABORT\ntransaction:${index}\nreceipt:${index}\n\n\0`,
    ).join(""),
  );
  const receipts = () => framesOf(settleAll(driver)).length;
  assert.equal(receipts(), 100);
  pass(driver, 1000);
  assert.equal(receipts(), 50);
  pass(driver, 5000);
  assert.equal(receipts(), 250);
  assert.equal(driver.reader.heldBytes, 0);
});

test("no frame is taken while a wish of the one before is unanswered, and events go on", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("a"));
  receive(driver, subscribeFrame("b") + "UNSUBSCRIBE\nid:a\n\n\0");
  assert.equal(takesFrame(driver.state, driver.now), false);
  give(driver, eventsOf(1, [1]));
  const emitted = settleAll(driver, () => null);
  assert.equal(framesOf(emitted).length, 1);
  assert.equal(wishesOf(emitted, "leave").length, 0);
  give(driver, agree(wishesOf(emitted, "open")[0]!)!);
  assert.equal(wishesOf(settleAll(driver), "leave").length, 1);
});

test("silence is not the client's while a frame of it is under way", () => {
  const driver = connectedDriver("1.2", {}, "heart-beat:10000,0\n");
  receive(driver, subscribeFrame("a"));
  pass(driver, 60_000);
  const open = wishesOf(
    settleAll(driver, () => null),
    "open",
  )[0]!;
  give(driver, agree(open)!);
  assert.notEqual(driver.state.phase, "ended");
  pass(driver, 20_000);
  assert.equal(driver.state.phase, "ended");
});

test("ST-7 two subscriptions to one destination are two copies, of different message ids", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("a") + subscribeFrame("b"));
  const headersOf = (key: number) => {
    give(driver, eventsOf(key, [1]));
    return framesOf(settleAll(driver)).map((frame) =>
      /message-id:([^\n]*).*\nsubscription:([^\n]*)/s.exec(frame)!.slice(1),
    );
  };
  assert.deepEqual(headersOf(1), [["evt_1.1", "a"]]);
  assert.deepEqual(headersOf(2), [["evt_1.2", "b"]]);
  exchange(driver, "UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0");
  assert.deepEqual(headersOf(1), []);
  assert.deepEqual(headersOf(2), [["evt_1.3", "b"]]);
});

test("an id may be used again once it was left, and events of the former subscription stay away", () => {
  const driver = connected();
  exchange(driver, `${subscribeFrame("a")}UNSUBSCRIBE\nid:a\n\n\0${subscribeFrame("a")}`);
  give(driver, eventsOf(1, [1]));
  give(driver, eventsOf(2, [2]));
  const frames = framesOf(settleAll(driver));
  assert.equal(frames.length, 1);
  assert.match(frames[0]!, /evt_2\.1/);
});

test("1.1: an ACK whose subscription does not fit is unknown", () => {
  const start = () => {
    const driver = connectedDriver("1.1");
    exchange(driver, subscribeFrame("a", "destination:/queue/q\nack:client\n"));
    give(driver, eventsOf(1, [1]));
    settleAll(driver);
    return driver;
  };
  assert.equal(run(start(), sends("ACK\nmessage-id:evt_1.1\nsubscription:a\n\n\0")), null);
  assert.equal(run(start(), sends("ACK\nmessage-id:evt_1.1\nsubscription:b\n\n\0")), "ack_unknown");
  assert.equal(run(start(), sends("ACK\nmessage-id:evt_1.1\n\n\0")), "header_missing");
  assert.equal(run(start(), sends("ACK\nmessage-id:evt_2.1\nsubscription:a\n\n\0")), "ack_unknown");
});

test("1.0: message-id alone names a message", () => {
  const driver = connectedDriver("1.0");
  exchange(driver, "SUBSCRIBE\ndestination:/queue/q\nack:client\n\n\0");
  give(driver, eventsOf(1, [1, 2]));
  settleAll(driver);
  receive(driver, "ACK\nmessage-id:evt_2.2\nreceipt:r\n\n\0");
  const [apply] = wishesOf(settleAll(driver), "apply");
  assert.deepEqual(apply!.effects, [{ kind: "settle", subscription: 1, outcome: "done", positions: [1, 2] }]);
});

test("a quiet tail costs no wish per message, and a window never asks for more than it holds", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("a"));
  let needs = 0;
  for (let position = 1; position <= 1000; position++) {
    give(driver, eventsOf(1, [position]));
    needs += wishesOf(settleAll(driver), "need").length;
  }
  assert.equal(needs, 20);
  exchange(driver, subscribeFrame("b", "destination:/topic/event\nack:client\nprefetch-count:3\n"));
  give(driver, eventsOf(2, [1, 2, 3]));
  assert.deepEqual(wishesOf(settleAll(driver), "need"), []);
  receive(driver, "ACK\nid:evt_2.1002\n\n\0");
  assert.deepEqual(wishesOf(settleAll(driver), "need"), [{ kind: "need", subscription: 2, count: 2 }]);
});

test("a durable stops asking when 10,000 messages are settled above one that is not", () => {
  const driver = connected();
  exchange(
    driver,
    subscribeFrame("d", "destination:/topic/event\nack:client-individual\nprefetch-count:1000\ndurable:d\n"),
  );
  give(driver, eventsOf(1, [1]));
  let position = 1;
  let room = 999;
  while (room > 0 && position < 20_000) {
    const batch = Array.from({ length: room }, () => ++position);
    give(driver, eventsOf(1, batch));
    settleAll(driver);
    room = 0;
    for (const acknowledged of batch) {
      receive(driver, `ACK\nid:evt_${acknowledged}.${acknowledged}\n\n\0`);
      pass(driver, 10);
      for (const need of wishesOf(settleAll(driver), "need")) room = need.count;
    }
  }
  assert.ok(position > 10_000 && position <= 11_000, `${position}`);
  receive(driver, "ACK\nid:evt_1.1\n\n\0");
  assert.equal(wishesOf(settleAll(driver), "need").at(-1)?.count, 1000);
});

test("one shared body serves any number of sessions and subscriptions", () => {
  const shared = sharedEvent(1);
  const drivers = Array.from({ length: 50 }, () => connected());
  for (const driver of drivers) {
    exchange(driver, subscribeFrame("sub-0"));
    give(driver, {
      kind: "events",
      subscription: 1,
      batch: [{ position: 1, eventId: "evt_1", deliveries: 1, shared }],
    });
  }
  assert.equal(shared.rendered.size, 1);
});

test("the clock is asked for once per deadline, not per message", () => {
  const driver = connectedDriver("1.2", {}, "heart-beat:10000,10000\n");
  exchange(driver, subscribeFrame("a"));
  let wakes = 0;
  for (let position = 1; position <= 500; position++) {
    pass(driver, 1);
    receive(driver, "\n");
    give(driver, eventsOf(1, [position]));
    wakes += wishesOf(settleAll(driver), "wakeAt").length;
  }
  assert.equal(wakes, 0);
});

test("a clock that comes early is asked for again", () => {
  const { state } = startSession(settings, 0);
  assert.deepEqual(step(state, { kind: "clock" }, 9_999).wishes, [{ kind: "wakeAt", at: 10_000 }]);
});

// Whole sessions of nonsense.

const words = [
  ...["CONNECT", "STOMP", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "SEND", "DISCONNECT"],
  ...["id:a", "id:evt_1.1", "message-id:evt_1.1", "subscription:a", "transaction:t", "receipt:r", "ack:client"],
  ...["ack:client-individual", "durable:d", "destination:/topic/event", "destination:/queue/q", "requeue:false"],
  ...[
    "destination:/topic/chat",
    "accept-version:1.0,1.1,1.2",
    "heart-beat:1000,1000",
    "from:start",
    "content-length:2",
  ],
];
const line = fc.constantFrom(...words, "", "", "\0", "\0");
const mutated = fc
  .tuple(fc.array(line, { maxLength: 60 }), fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }))
  .map(([lines, changes]) => {
    const bytes = Buffer.from(lines.join("\n"));
    for (const [at, octet] of changes) if (bytes.length > 0) bytes[at % bytes.length] = octet;
    return bytes;
  });
const frameOf = (command: string, headers: readonly string[]) => `${command}\n${headers.join("\n")}\n\n\0`;
const frames = fc
  .array(fc.tuple(fc.constantFrom(...words.slice(2, 11)), fc.subarray(words.slice(11), { maxLength: 6 })), {
    maxLength: 20,
  })
  .map((list) => Buffer.from(list.map(([command, headers]) => frameOf(command, headers)).join("")));

test("no stream of octets, answers and time makes a session throw, speak after its end, or wish for a time that is past", () => {
  const version = fc.constantFrom<Version>("1.0", "1.1", "1.2");
  const act = fc.oneof(mutated, frames, fc.nat({ max: 5000 }), fc.constantFrom("deliver", "refuse"));
  fc.assert(
    fc.property(version, fc.boolean(), fc.array(act, { maxLength: 12 }), (v, isConnected, acts) => {
      const driver = isConnected ? connectedDriver(v, chatSettings) : newDriver(chatSettings);
      const emitted: Emitted[] = [];
      let position = 0;
      for (const one of acts) {
        if (typeof one === "number") pass(driver, one);
        else if (one === "deliver") for (let key = 1; key <= 3; key++) give(driver, eventsOf(key, [++position]));
        else if (one === "refuse") give(driver, { kind: "refused", wish: 2, refusal: { code: "internal_error" } });
        else receive(driver, one);
        emitted.push(...settleAll(driver));
        assert.ok(driver.wakeAt > driver.now || driver.state.phase === "ended", "a wake-up in the past");
      }
      endOf(driver, emitted);
      assert.ok(driver.reader.heldBytes <= 64 * 1024);
    }),
    { numRuns: 400 },
  );
});
