/** Serves one session: its wishes carried out in their order, on the log, on durables and queues, and in chat. */
import { inTransaction, systemCaller } from "#kernel/context";
import { readCredential } from "#kernel/credential-header";
import type { Db } from "#kernel/db";
import { readEvents } from "#kernel/event-reader";
import { newId } from "#kernel/ids";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import type { Version } from "#kernel/versions";
import type { Credential, Effect, Input, Notice, Opened, Opening, Wish } from "../../../stomp/contract.ts";
import type { FaultCode } from "../../../stomp/faults.ts";
import type { Connection, Server } from "../../../stomp/socket.ts";
import { tellParked } from "../stomp-queue/operations.ts";
import type { Chat, ChatSpace } from "./chat.ts";
import { holdDurable, letGoDurables, storeProgress } from "./durable.ts";
import { type Line, recordLine } from "./line.ts";
import { noticeOf } from "./notice.ts";
import { beginningOf, type Hearing, operationHearing, refusalOf, topicHearing, versionOf } from "./opening.ts";
import {
  addConsumer,
  findQueue,
  mayConsume,
  type QueueFound,
  type Queues,
  releaseItems,
  settleItems,
} from "./queue.ts";
import type { Registry } from "./registry.ts";
import type { Render } from "./render.ts";
import { type Bearing, maySubscribe, nameOfBearing, Over, type Refused, readerOf, standingOf } from "./standing.ts";
import { type Feed, followLog } from "./tail.ts";
import type { Together } from "./together.ts";

/** What the handshake brought. */
export type Handshake = {
  requestId: string;
  address: string;
  label: string;
  version: Version;
  userAgent: string | null;
  credential: string | null;
  /** The handshake's call was charged to the plan of its credential. */
  isCharged: boolean;
};

/** What sessions of a process share. */
export type Shared = {
  kernel: Kernel;
  render: Render;
  together: Together;
  queues: Queues;
  chat: Chat | null;
  registry: Registry;
  members: Map<string, Member>;
  /** Sessions that are about to be members: they count against the limit of the process. */
  entering: Set<string>;
  /** An address had too many wrong credentials: handshakes are refused for so long. */
  barAddress(address: string, seconds: number): void;
};

/** A session that is logged in. */
export type Member = {
  id: string;
  connection: Connection;
  bearing: Bearing;
  /** Bearings of one name are the same. */
  bearingName: string;
  feeds(): Iterable<Feed>;
};

type Held = { durableId: string | null; queue: QueueFound | null; chat: string | null; feed: Feed | null };

export function serveSession(shared: Shared, handshake: Handshake, connection: Connection): Server {
  const { kernel, members } = shared;
  const { version } = handshake;
  const sessionId = newId("ses", kernel.now().getTime());
  const held = new Map<number, Held>();
  const usedQueues = new Map<string, QueueFound>();
  let who: Principal | null = null;
  let space: ChatSpace | null = null;
  let bearing: Bearing | null = null;
  let isEntered = false;
  /** Whom a refused credential belongs to, and why it was refused: for its owner's activity log. */
  let refusedAs: Pick<Refused, "tenantId" | "reason"> | null = null;
  let work: Promise<unknown> = Promise.resolve();
  const member = (): Member => ({
    id: sessionId,
    connection,
    bearing: bearing!,
    bearingName: nameOfBearing(bearing!),
    *feeds() {
      for (const { feed } of held.values()) if (feed) yield feed;
    },
  });

  function record(method: Line["method"], code: string | null, startedMs: number, at = version.label): void {
    const session = isEntered ? sessionId : null;
    recordLine(kernel, handshake, { method, code, startedMs, version: at, who, refusedAs, sessionId: session });
  }

  /** What went wrong ends the session, or is tried again in a while. */
  async function failed(error: unknown): Promise<void> {
    const refusal = refusalOf(error);
    if (refusal) return connection.give({ kind: "end", refusal });
    kernel.log.warn({ err: error, requestId: handshake.requestId }, "a STOMP session waits for the database");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }

  function answer(id: number, part: () => Promise<Input>): void {
    const turn = work.then(part).catch((error): Input => {
      const refusal = refusalOf(error);
      if (!refusal) kernel.log.error({ err: error, requestId: handshake.requestId }, "unexpected error");
      return { kind: "refused", wish: id, refusal: refusal ?? { code: "internal_error" } };
    });
    work = turn;
    kernel.aside(turn.then(connection.give));
  }

  async function authenticate(wish: Extract<Wish, { kind: "authenticate" }>): Promise<Input> {
    const startedMs = performance.now();
    const refused = (code: FaultCode, detail?: string): Input => ({
      kind: "refused",
      wish: wish.id,
      refusal: detail === undefined ? { code } : { code, detail },
    });
    const guest = wish.credential?.header === "passcode" && shared.chat?.guest(wish.login, wish.credential.value);
    if (guest) {
      space = guest;
      return authenticated(wish.id, null);
    }
    const credential = credentialOf(wish.credential, handshake.credential);
    if (credential === null) return refused("authentication_failed");
    bearing = { credential, address: handshake.address, label: handshake.label };
    const standing = await standingOf(kernel, bearing);
    if (!standing.ok) {
      refusedAs = standing;
      if (standing.retryAfterSeconds !== undefined) shared.barAddress(handshake.address, standing.retryAfterSeconds);
      return refused(standing.code);
    }
    if (handshake.credential !== null && credential !== handshake.credential) {
      const other = await standingOf(kernel, { ...bearing, credential: handshake.credential });
      if (!other.ok || other.who.actor.id !== standing.who.actor.id) return refused("authentication_failed");
    }
    who = standing.who;
    if (!maySubscribe(who)) return refused("permission_missing", "This needs the permission notification.subscribe.");
    if (!handshake.isCharged) {
      const charge = await kernel.throttle.charge(who, "api", undefined);
      if (!charge.admitted) return refused("sessions_full", "The usage plan allows no further call now.");
    }
    const { expiresAtMs } = standing;
    if (!(await enter(who, expiresAtMs))) return refused("sessions_full");
    space = shared.chat?.spaceOf(who.tenant.id) ?? null;
    record("CONNECT", null, startedMs);
    return authenticated(wish.id, Number.isFinite(expiresAtMs) ? expiresAtMs : null);
  }

  /** Takes a place among the sessions of the process, the tenant and the principal; false: there is none. */
  async function enter(caller: Principal, expiresAtMs: number): Promise<boolean> {
    const { entering } = shared;
    if (members.size + entering.size >= kernel.settings.stomp.sessions.process) return false;
    entering.add(sessionId);
    try {
      isEntered = await shared.registry.enter({
        id: sessionId,
        who: caller,
        address: handshake.address,
        stompVersion: connection.version() ?? "",
        label: handshake.label,
        expiresAtMs,
      });
    } finally {
      entering.delete(sessionId);
    }
    if (isEntered && connection.isOpen()) members.set(sessionId, member());
    return isEntered;
  }

  function authenticated(wish: number, expiresAtMs: number | null): Input {
    const { deprecatedAt, sunsetAt } = version;
    return {
      kind: "authenticated",
      wish,
      session: sessionId,
      apiVersion: version.label,
      deprecation: deprecatedAt ? Math.floor(Date.parse(deprecatedAt) / 1_000) : null,
      sunset: sunsetAt ? new Date(sunsetAt).toISOString().slice(0, 10) : null,
      // The session's clock is the process's; ours may be moved.
      expiresAt: expiresAtMs === null ? null : performance.now() + (expiresAtMs - kernel.now().getTime()),
    };
  }

  async function open(wish: Extract<Wish, { kind: "open" }>): Promise<Input> {
    const startedMs = performance.now();
    const { opening, subscription } = wish;
    try {
      const opened = await openSubscription(subscription, opening);
      record("SUBSCRIBE", null, startedMs, opened.apiVersion ?? undefined);
      return { kind: "opened", wish: wish.id, cursor: null, apiVersion: null, progress: null, ...opened };
    } catch (error) {
      record("SUBSCRIBE", refusalOf(error)?.code ?? "internal_error", startedMs);
      throw error;
    }
  }

  async function openSubscription(key: number, opening: Opening): Promise<Partial<Opened>> {
    const { destination } = opening;
    if (destination === null) throw new Over({ code: "destination_not_available" });
    if (destination.kind === "session") {
      held.set(key, { durableId: null, queue: null, chat: null, feed: null });
      return {};
    }
    if (destination.kind === "chatTopic") return openChat(key, opening);
    if (who === null) {
      if (destination.kind === "queue" && destination.isChat) return openChat(key, opening);
      throw new Over({ code: "destination_not_available" });
    }
    const reader = readerOf(kernel, bearing!, opening.tenant);
    const now = await reader();
    if (destination.kind === "queue") {
      const found = await findQueue(kernel, now, destination.name);
      if (!found && destination.isChat) return openChat(key, opening);
      if (!found || !mayConsume(now, found)) throw new Over({ code: "destination_not_available" });
      const apiVersion = versionOf(kernel, destination.label ?? version.label);
      await addConsumer(kernel, found, sessionId, key);
      usedQueues.set(found.id, found);
      const about = { sessionId, key, connection, reader, version: apiVersion, failed };
      held.set(key, { durableId: null, queue: found, chat: null, feed: shared.queues.join(found, about) });
      return { apiVersion };
    }
    if (destination.kind === "operations") {
      const own = operationHearing(kernel, now, opening, versionOf(kernel, destination.label ?? version.label));
      return openLog(key, opening, own, now, reader);
    }
    const hearing = await topicHearing(kernel, now, opening, destination, version.label);
    return openLog(key, opening, hearing, now, reader);
  }

  async function openLog(
    key: number,
    opening: Opening,
    hearing: Hearing,
    now: Principal,
    reader: () => Promise<Principal>,
  ): Promise<Partial<Opened>> {
    const said = await beginningOf(kernel, now, opening);
    const begin = said ?? (await shared.together.head(now));
    let place = begin;
    let durableId: string | null = null;
    let progress: Opened["progress"] = null;
    if (opening.durable !== null) {
      const start = { place: begin, beats: opening.lastEventId !== null };
      const durable = await holdDurable(kernel.db, now, sessionId, opening, start, kernel.now());
      ({ place, id: durableId } = durable);
      progress = { position: place.position, deliveredTo: durable.deliveredTo, settledAbove: durable.settledAbove };
    }
    // A place that the log no longer keeps is refused now, and not after the RECEIPT.
    if (place !== begin || said !== null) await readEvents(kernel, reader, { place, filter: hearing.filter, limit: 1 });
    const feed = followLog({
      kernel,
      connection,
      key,
      hearing,
      place,
      reader,
      readerKey: `${nameOfBearing(bearing!)} ${now.acting.id}`,
      settledAbove: progress === null ? null : new Set(progress.settledAbove),
      render: shared.render,
      together: shared.together,
      failed,
    });
    held.set(key, { durableId, queue: null, chat: null, feed });
    return { cursor: kernel.events.cursors.write(place, now.acting.id), apiVersion: hearing.version, progress };
  }

  function openChat(key: number, opening: Opening): Partial<Opened> {
    if (space === null) throw new Over({ code: "destination_not_available" });
    const feed = space.join(opening.destination!, { key, connection, ack: opening.ack });
    held.set(key, { durableId: null, queue: null, chat: opening.destinationText, feed });
    return {};
  }

  async function apply(effects: readonly Effect[]): Promise<void> {
    const stored = effects.filter((effect) => effect.kind !== "publish" && !held.get(effect.subscription)?.chat);
    if (stored.length > 0 && who !== null) await store(who, stored);
    for (const effect of effects) {
      if (effect.kind === "publish") space?.publish(effect);
      else if (effect.kind === "settle" && held.get(effect.subscription)?.chat) space?.settle(effect, connection);
    }
  }

  /** One wall for all: what a session settles lies in tenants at or below its own. */
  async function store(caller: Principal, effects: readonly Effect[]): Promise<void> {
    const parked = new Set<string>();
    const part = async (db: Db) => {
      for (const effect of effects) {
        if (effect.kind === "publish") continue;
        const { durableId, queue } = held.get(effect.subscription) ?? {};
        if (effect.kind === "progress" && durableId)
          await storeProgress(db, caller.tenant.id, durableId, sessionId, effect, kernel.now());
        else if (effect.kind === "settle" && queue) {
          await settleItems(db, queue.id, sessionId, effect);
          if (effect.outcome === "parked") parked.add(queue.id);
        }
      }
    };
    if (!effects.some((effect) => effect.kind === "settle" && effect.outcome === "parked"))
      return kernel.db.transaction(caller.tenant.id, part);
    // What is parked is told, in the transaction that parks it.
    const acting = { ...caller, acting: caller.tenant };
    await inTransaction(kernel, { ...systemCaller(kernel, caller.tenant, "stomp"), who: acting }, async (ctx) => {
      await part(ctx.db);
      for (const id of parked) await tellParked(ctx, id);
    });
  }

  async function leave(keys: readonly number[]): Promise<void> {
    const left = keys.flatMap((key) => held.get(key) ?? []);
    for (const key of keys) {
      held.get(key)?.feed?.stop();
      held.delete(key);
    }
    const durables = left.flatMap(({ durableId }) => durableId ?? []);
    for (const { queue } of left) {
      const stillUsed = queue && [...held.values()].some((other) => other.queue?.id === queue.id);
      if (queue && !stillUsed)
        await kernel.db.transaction(queue.tenantId, (tx) => releaseItems(tx, queue.id, sessionId));
    }
    if (durables.length > 0)
      await kernel.db.transaction(who!.tenant.id, (tx) => letGoDurables(tx, [sessionId], durables, kernel.now()));
  }

  function notice(key: number, kind: Notice): void {
    const delivery = noticeOf(kernel, kind, { id: sessionId, version, tenantId: who?.tenant.id ?? "" });
    // Not in the turn that wishes for it: what it answers has to be out first.
    queueMicrotask(() => connection.give({ kind: "events", subscription: key, batch: [delivery] }));
  }

  return {
    serve(wish) {
      switch (wish.kind) {
        case "authenticate":
          return answer(wish.id, () => authenticate(wish));
        case "open":
          return answer(wish.id, () => open(wish));
        case "leave":
          return answer(wish.id, async () => {
            await leave(wish.subscriptions);
            return { kind: "done", wish: wish.id };
          });
        case "apply":
          return answer(wish.id, async () => {
            await apply(wish.effects);
            return { kind: "done", wish: wish.id };
          });
        case "need":
          return held.get(wish.subscription)?.feed?.need(wish.count);
        case "again":
          return held.get(wish.subscription)?.feed?.again(wish.positions);
        case "notice":
          return notice(wish.subscription, wish.notice);
      }
    },
    ended(fault) {
      const startedMs = performance.now();
      members.delete(sessionId);
      for (const { feed } of held.values()) feed?.stop();
      const end = work.then(async () => {
        members.delete(sessionId);
        for (const { feed } of held.values()) feed?.stop();
        if (fault !== null) record("ERROR", fault, startedMs);
        if (isEntered) await shared.registry.leave(who!.tenant.id, sessionId, [...usedQueues.values()]);
      });
      work = end.catch(() => {});
      kernel.aside(end);
    },
  };
}

/** The one credential that counts: CONNECT's, else the handshake's. Null: none that has the form of one. */
function credentialOf(given: Credential | null, fromHandshake: string | null): string | null {
  if (given === null) return fromHandshake;
  const { header, value } = given;
  const line = header === "passcode" ? `Bearer ${value}` : value;
  const presented = readCredential([header === "x-api-key" ? "x-api-key" : "authorization", line], "");
  return "credential" in presented ? presented.credential : null;
}
