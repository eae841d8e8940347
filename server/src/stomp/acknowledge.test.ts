// Acknowledgement against a model so plain that it can be read: a list of messages, searched from the front.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AckMode, DurableState, Wish } from "./contract.ts";
import type { Version } from "./frame.ts";
import {
  agree,
  connectedDriver,
  type Driver,
  eventsOf,
  exchange,
  framesOf,
  give,
  pass,
  receive,
  settleAll,
  wishesOf,
} from "./session.fixture.ts";

type Message = { id: string; subscription: string; position: number; deliveries: number; state: "open" | "settled" };
type Verdict = { message: number; verdict: "ACK" | "NACK" | "PARK"; transaction: string | null };
type Action =
  | { kind: "deliver"; subscription: string; count: number; deliveries: number }
  | ({ kind: "verdict" } & Verdict)
  | { kind: "transaction"; command: "BEGIN" | "COMMIT" | "ABORT"; name: string }
  | { kind: "leave"; subscription: string };

/** Outcomes by position, in the words of the wish. */
type Outcome = Record<number, "done" | "ready" | "parked">;

type Model = {
  mode: AckMode;
  messages: Message[];
  left: Set<string>;
  transactions: Map<string, Verdict[]>;
};

const outcomes = { ACK: "done", NACK: "ready", PARK: "parked" } as const;

function judgeInModel({ mode, messages, left }: Model, { message, verdict }: Verdict): Outcome {
  const target = messages[message]!;
  if (left.has(target.subscription) || target.state === "settled") return {};
  const reach = messages.filter((one, index) => {
    if (one.subscription !== target.subscription || one.state === "settled") return false;
    return mode === "client" ? index <= message : index === message;
  });
  const outcome: Outcome = {};
  for (const one of reach) {
    one.state = "settled";
    outcome[one.position] = verdict === "NACK" && one.deliveries >= 10 ? "parked" : outcomes[verdict];
  }
  return outcome;
}

/** What an action leads to: a fault, or what is stored. */
function actInModel(model: Model, action: Action): string | Outcome {
  const { mode, messages, left, transactions } = model;
  if (action.kind === "verdict") {
    const target = messages[action.message];
    if (target === undefined) return "ack_unknown";
    const isLeft = left.has(target.subscription);
    if (!isLeft && (mode === "auto" || target.state === "settled")) return "ack_unknown";
    if (action.transaction === null) return judgeInModel(model, action);
    const joined = transactions.get(action.transaction);
    if (joined === undefined) return "transaction_unknown";
    joined.push(action);
    return {};
  }
  if (action.kind === "leave") {
    if (left.has(action.subscription)) return "subscription_unknown";
    left.add(action.subscription);
    return {};
  }
  if (action.kind === "deliver") return {};
  const joined = transactions.get(action.name);
  if (action.command === "BEGIN") {
    if (joined !== undefined) return "transaction_open";
    transactions.set(action.name, []);
    return {};
  }
  if (joined === undefined) return "transaction_unknown";
  transactions.delete(action.name);
  if (action.command === "ABORT") return {};
  return Object.assign({}, ...joined.map((verdict) => judgeInModel(model, verdict)));
}

function frameOf(version: Version, messages: readonly Message[], action: Exclude<Action, { kind: "deliver" }>): string {
  if (action.kind === "leave") return `UNSUBSCRIBE\nid:${action.subscription}\nreceipt:r\n\n\0`;
  if (action.kind === "transaction") return `${action.command}\ntransaction:${action.name}\nreceipt:r\n\n\0`;
  const target = messages[action.message] ?? { id: "evt_x.99999", subscription: "a" };
  const name = version === "1.2" ? "id" : "message-id";
  let headers = `${name}:${target.id}\nsubscription:${target.subscription}\nreceipt:r\n`;
  if (action.transaction !== null) headers += `transaction:${action.transaction}\n`;
  if (action.verdict === "PARK") headers += "requeue:false\n";
  return `${action.verdict === "ACK" ? "ACK" : "NACK"}\n${headers}\n\0`;
}

/** Plays one action on the session: the fault or what is stored. */
function actInSession(driver: Driver, bytes: string): string | Outcome {
  receive(driver, bytes);
  const emitted = settleAll(driver);
  const outcome: Outcome = {};
  for (const { effects } of wishesOf(emitted, "apply"))
    for (const effect of effects)
      if (effect.kind === "settle") for (const position of effect.positions) outcome[position] = effect.outcome;
  const last = framesOf(emitted).at(-1)!;
  const code = /^ERROR\n(?:.*\n)*?code:(.*)\n/.exec(last)?.[1];
  if (code === undefined) assert.equal(last, "RECEIPT\nreceipt-id:r\n\n\0");
  return code ?? outcome;
}

const subscriptions = ["a", "b"];
const version = fc.constantFrom<Version>("1.1", "1.2");
const name = fc.constantFrom("t", "u");
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("deliver" as const),
      subscription: fc.constantFrom(...subscriptions),
      count: fc.integer({ min: 1, max: 4 }),
      deliveries: fc.constantFrom(1, 2, 10),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("verdict" as const),
      message: fc.nat({ max: 12 }),
      verdict: fc.constantFrom("ACK" as const, "NACK" as const, "PARK" as const),
      transaction: fc.option(name),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("transaction" as const),
      command: fc.constantFrom("BEGIN" as const, "COMMIT" as const, "ABORT" as const),
      name,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), subscription: fc.constantFrom("a", "b") }) },
);

for (const mode of ["auto", "client", "client-individual"] as const) {
  test(`${mode}: ACK, NACK and transactions settle exactly what the model settles`, () => {
    let faults = 0;
    let commits = 0;
    fc.assert(
      fc.property(
        version,
        fc.boolean(),
        fc.array(action, { minLength: 10, maxLength: 60, size: "max" }),
        (version, isCareful, actions) => {
          const driver = connectedDriver(version);
          for (const id of subscriptions)
            exchange(driver, `SUBSCRIBE\nid:${id}\ndestination:/queue/${id}\nack:${mode}\n\n\0`);
          const model: Model = { mode, messages: [], left: new Set(), transactions: new Map() };
          let position = 0;
          for (const one of actions) {
            if (one.kind === "deliver") {
              if (model.left.has(one.subscription)) continue;
              const positions = Array.from({ length: one.count }, () => ++position);
              give(driver, eventsOf(subscriptions.indexOf(one.subscription) + 1, positions, one.deliveries));
              const { deliveries, subscription } = one;
              for (const frame of framesOf(settleAll(driver))) {
                const id = /\nmessage-id:(.*)\n/.exec(frame)![1]!;
                model.messages.push({ id, subscription, position: positions.shift()!, deliveries, state: "open" });
              }
              continue;
            }
            // A careful client makes no fault, so that transactions live to see their COMMIT.
            if (isCareful && typeof actInModel(structuredClone(model), one) === "string") continue;
            const bytes = frameOf(version, model.messages, one);
            const expected = actInModel(model, one);
            assert.deepEqual(actInSession(driver, bytes), expected);
            if (typeof expected === "string") {
              faults++;
              assert.equal(driver.state.phase, "ended");
              return;
            }
            if (one.kind === "transaction" && Object.keys(expected).length > 0) commits++;
          }
        },
      ),
      { numRuns: 600 },
    );
    assert.ok(
      faults > 20 && (mode === "auto" || commits > 5),
      `the model was not put to the test: ${faults} ${commits}`,
    );
  });
}

// Durables: a shell with a log, over sessions that break.

type Stored = DurableState & { parked: number[] };
/** A shell that keeps to what it was asked for. `hidden`: positions that may not be seen. */
type DurableShell = {
  driver: Driver;
  stored: Stored;
  given: number;
  credit: number;
  again: number[];
  hidden: Set<number>;
};

const logLength = 60;

function connectDurable(stored: Stored, mode: AckMode, window: number, hidden: Set<number>): DurableShell {
  const driver = connectedDriver("1.2");
  const shell: DurableShell = { driver, stored, given: stored.position, credit: 0, again: [], hidden };
  receive(driver, `SUBSCRIBE\nid:d\ndestination:/topic/event\ndurable:d\nack:${mode}\nprefetch-count:${window}\n\n\0`);
  pump(shell);
  return shell;
}

function answerDurable(shell: DurableShell, wish: Wish): void {
  const { driver, stored } = shell;
  if (wish.kind === "open")
    give(driver, { kind: "opened", wish: wish.id, cursor: "c", apiVersion: "v1", progress: stored });
  else if (wish.kind === "need") shell.credit = wish.count;
  else if (wish.kind === "again") shell.again.push(...wish.positions);
  else if (wish.kind === "apply") {
    for (const effect of wish.effects) {
      assert.ok(effect.kind === "progress" && effect.position >= stored.position);
      Object.assign(stored, { ...effect, parked: [...stored.parked, ...effect.parked] });
    }
    give(driver, { kind: "done", wish: wish.id });
  } else {
    const input = agree(wish);
    if (input !== null) give(driver, input);
  }
}

/** Answers all wishes; gives the MESSAGEs. */
function pump(shell: DurableShell): string[] {
  const frames: string[] = [];
  for (let one = shell.driver.emitted.shift(); one !== undefined; one = shell.driver.emitted.shift()) {
    if ("wish" in one) answerDurable(shell, one.wish);
    else if (one.bytes.toString().startsWith("MESSAGE")) frames.push(one.bytes.toString());
  }
  return frames;
}

/** Gives what was asked for again, then new events as far as there is room. */
function feed(shell: DurableShell): string[] {
  const { driver, hidden, stored } = shell;
  const repeats = shell.again.splice(0);
  const seen = repeats.filter((position) => !hidden.has(position));
  const events = eventsOf(1, seen);
  give(driver, { ...events, passed: repeats.filter((position) => hidden.has(position)) } as typeof events);
  const batch: number[] = [];
  while (shell.given < logLength && batch.length < shell.credit) {
    shell.given++;
    if (!hidden.has(shell.given) && !stored.settledAbove.includes(shell.given)) batch.push(shell.given);
  }
  shell.credit -= batch.length;
  give(driver, { ...eventsOf(1, batch), readTo: shell.given } as typeof events);
  return pump(shell);
}

test("a durable over sessions that break loses nothing, keeps its window, and parks after ten deliveries", () => {
  const plan = fc.array(fc.record({ pick: fc.nat(), verdict: fc.nat({ max: 9 }), ms: fc.nat({ max: 3000 }) }), {
    minLength: 20,
    maxLength: 150,
  });
  const mode = fc.constantFrom<AckMode>("client", "client-individual");
  fc.assert(
    fc.property(
      mode,
      fc.integer({ min: 1, max: 7 }),
      fc.array(fc.nat({ max: 60 })),
      plan,
      (ack, window, unseen, steps) => {
        const hidden = new Set(unseen);
        const stored: Stored = { position: 0, deliveredTo: 0, settledAbove: [], parked: [] };
        const acknowledged = new Set<number>();
        const delivered = new Set<number>();
        let shell = connectDurable(stored, ack, window, hidden);
        let open: { id: string; position: number; count: number }[] = [];
        const take = (frames: string[]) => {
          for (const frame of frames) {
            const [, id, position] = /\nmessage-id:(evt_(\d+)\.\d+)\n/.exec(frame)!;
            assert.equal(frame.includes("\nredelivered:true\n"), delivered.has(Number(position)));
            delivered.add(Number(position));
            open.push({
              id: id!,
              position: Number(position),
              count: Number(/\ndelivery-count:(\d+)/.exec(frame)?.[1] ?? 1),
            });
          }
          assert.ok(open.length <= window, `${open.length} unsettled in a window of ${window}`);
          for (const { count } of open) assert.ok(count <= 10);
        };
        const settle = (index: number, command: "ACK" | "NACK") => {
          const reach = ack === "client" ? open.slice(0, index + 1) : [open[index]!];
          receive(shell.driver, `${command}\nid:${open[index]!.id}\n\n\0`);
          if (command === "ACK") for (const { position } of reach) acknowledged.add(position);
          open = open.filter((one) => !reach.includes(one));
          take(pump(shell));
        };
        for (const { pick, verdict, ms } of steps) {
          take(feed(shell));
          if (verdict === 0) {
            give(shell.driver, { kind: "gone" });
            pump(shell);
            for (const position of acknowledged)
              assert.ok(isStored(stored, position), `the ACK of ${position} is lost`);
            open = [];
            shell = connectDurable(stored, ack, window, hidden);
          } else if (open.length > 0) settle(pick % open.length, verdict < 5 ? "NACK" : "ACK");
          pass(shell.driver, ms);
          take(pump(shell));
        }
        for (let round = 0; round < 500 && stored.position < logLength; round++) {
          take(feed(shell));
          if (open.length > 0) settle(open.length - 1, "ACK");
          pass(shell.driver, 1000);
          take(pump(shell));
        }
        assert.equal(stored.position, logLength);
        assert.deepEqual(stored.settledAbove, []);
        assert.equal(new Set(stored.parked).size, stored.parked.length, "parked twice");
        for (let position = 1; position <= logLength; position++)
          assert.ok(
            acknowledged.has(position) || hidden.has(position) || stored.parked.includes(position),
            `${position}`,
          );
      },
    ),
    { numRuns: 80 },
  );
});

function isStored({ position, settledAbove }: Stored, settled: number): boolean {
  return settled <= position || settledAbove.includes(settled);
}

test("a durable that is refused ten times is parked, and the position moves past it", () => {
  const stored: Stored = { position: 0, deliveredTo: 0, settledAbove: [], parked: [] };
  const shell = connectDurable(stored, "client-individual", 5, new Set());
  const delays: number[] = [];
  let since = 0;
  for (let round = 1; round <= 10; round++) {
    const frame = feed(shell).find((text) => text.includes("\nmessage-id:evt_1."))!;
    if (round > 1) {
      delays.push(shell.driver.now - since);
      assert.match(frame, new RegExp(`\nredelivered:true\ndelivery-count:${round}\n`));
    }
    since = shell.driver.now;
    receive(shell.driver, `NACK\nid:${/\nmessage-id:(.*)\n/.exec(frame)![1]}\n\n\0`);
    pump(shell);
    while (round < 10 && shell.again.length === 0) {
      pass(shell.driver, 1000);
      pump(shell);
    }
  }
  pass(shell.driver, 1000);
  pump(shell);
  assert.deepEqual(
    delays,
    [1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1000),
  );
  assert.deepEqual(stored.parked, [1]);
  assert.equal(stored.position, 1);
  receive(shell.driver, "ACK\nid:evt_2.2\nreceipt:r\n\n\0");
  pump(shell);
  assert.deepEqual(stored.parked, [1]);
  assert.equal(stored.position, 2);
});
