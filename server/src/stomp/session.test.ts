import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Version } from "./frame.ts";
import {
  agree,
  begin,
  chatSettings,
  connectedDriver,
  type Emitted,
  endOf,
  eventsOf,
  exchange,
  framesOf,
  give,
  newDriver,
  pass,
  receive,
  run,
  sends,
  settings,
  settleAll,
  sharedEvent,
  subscribeFrame,
  wishesOf,
} from "./session.fixture.ts";
import { startSession, step, takesFrame } from "./session.ts";

const connected = () => connectedDriver("1.2");
const chatting = () => connectedDriver("1.2", chatSettings);

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

test("a COMMIT stores what it settles of queues and durables as one", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("q", "destination:/queue/q\nack:client\n"));
  exchange(driver, subscribeFrame("d", "destination:/topic/event\nack:client\ndurable:d\n"));
  give(driver, eventsOf(1, [1]));
  give(driver, eventsOf(2, [5]));
  pass(driver, 1000);
  settleAll(driver);
  const joined = ["evt_1.1", "evt_5.2"].map((id) => `ACK\nid:${id}\ntransaction:t\n\n\0`).join("");
  receive(driver, `${begin("t")}${joined}COMMIT\ntransaction:t\nreceipt:r\n\n\0`);
  const emitted = settleAll(driver);
  assert.deepEqual(
    wishesOf(emitted, "apply").map(({ effects }) => effects.map(({ kind }) => kind)),
    [["settle", "progress"]],
  );
  assert.deepEqual(framesOf(emitted), ["RECEIPT\nreceipt-id:r\n\n\0"]);
});

test("a message stays known while it is unsettled, however many others were given out between", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("a", "destination:/queue/a\nack:client-individual\n") + subscribeFrame("b"));
  give(driver, eventsOf(1, [1]));
  for (let position = 2; position < 6000; position++) give(driver, eventsOf(1 + (position % 2), [position]));
  settleAll(driver);
  assert.equal(run(driver, sends("ACK\nid:evt_1.1\n\n\0ACK\nid:evt_5998.5998\n\n\0")), null);
  assert.equal(run(driver, sends("ACK\nid:evt_1.1\n\n\0")), "ack_unknown");
});

test("ids of a subscription that was left do nothing, settled ones too, of the last thousand changes of subscription", () => {
  const driver = connected();
  exchange(driver, subscribeFrame("a", "destination:/queue/a\nack:client-individual\n") + subscribeFrame("b"));
  for (let position = 1; position <= 2001; position++) give(driver, eventsOf(2 - (position % 2), [position]));
  settleAll(driver);
  exchange(driver, "ACK\nid:evt_1999.1999\n\n\0UNSUBSCRIBE\nid:a\n\n\0");
  for (const number of [1999, 1001])
    assert.equal(run(driver, sends(`ACK\nid:evt_${number}.${number}\n\n\0`)), null, `${number}`);
  assert.equal(run(driver, sends("ACK\nid:evt_2002.2002\n\n\0")), "ack_unknown");
});

test("a refusal that answers no wish has no effect", () => {
  const driver = connected();
  assert.equal(
    run(driver, (it) => give(it, { kind: "refused", wish: 1, refusal: { code: "internal_error" } })),
    null,
  );
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
