/**
 * Makes the Context of a call, and writes what it gathered (news, records) in the transaction of the change: one
 * statement each, however many there are, sent together with the commit.
 */
import { hash } from "node:crypto";
import { sql } from "kysely";
import type { Logger } from "pino";
import type { AuditChange } from "./audit.ts";
import type { Call, Context, OpenDoor } from "./contract.ts";
import { type Db, type HotQuery, hot, query, type Transaction } from "./db.ts";
import { redactLogged } from "./event-redaction.ts";
import type { EventKind, EventNews } from "./events.ts";
import { onFirmGround } from "./firm-ground.ts";
import { newId } from "./ids.ts";
import type { Kernel } from "./kernel.ts";
import { queueMail } from "./mail.ts";
import { insertOperation } from "./operation-store.ts";
import { permissions } from "./permissions.ts";
import type { Principal, TenantCard } from "./principal.ts";
import { notFound, refuse } from "./problem.ts";
import type { Raised } from "./processes.ts";

type Gathered = {
  news: [EventKind, EventNews][];
  changes: AuditChange[];
  /** Subjects whose news are told without data. */
  redacted: Set<string>;
  forget: boolean;
  wakes: boolean;
  mails: boolean;
};
export type Warnings = { code: string; pointer?: string }[];

export type Caller = {
  who: Principal;
  call: Call;
  log: Logger;
  now: Date;
  emits: readonly EventKind[] | null;
  warnings: Warnings;
  /** See Context.again; absent: the caller is no credential's, and stays who it is. */
  again?(): Promise<Principal>;
};

/** The caller of work that nobody asked for: bootstrap, jobs, demo data. `name` stands in the audit trail. */
export function systemCaller(kernel: Kernel, tenant: TenantCard, name: string): Caller {
  const who: Principal = {
    tenant,
    acting: tenant,
    actor: { kind: "system", id: "system", name },
    onBehalfOf: null,
    via: { kind: "job", id: name, hint: null, clientId: null, grantId: null },
    scopes: ["*"],
    readOnly: false,
    authTime: null,
    grants: [{ permissions: new Set(permissions), within: { kind: "tenant", id: tenant.id } }],
  };
  const call: Call = {
    requestId: newId("rid"),
    correlationId: null,
    label: kernel.versions.newest.label,
    version: kernel.versions.newest.label,
    path: "",
    search: "",
    address: "",
    ifMatch: null,
    ifNoneMatch: null,
    lastEventId: null,
    prefer: { wait: null, respondAsync: false },
  };
  return { who, call, log: kernel.log, now: kernel.now(), emits: null, warnings: [] };
}

/** Who calls an open route: nobody, in no tenant, so that the row policies show nothing. */
export const anonymous: Principal = (() => {
  const nowhere: TenantCard = {
    id: "",
    code: "",
    name: "",
    kind: "customer",
    parentId: null,
    lineage: [],
    timeZone: "UTC",
    suspended: false,
    features: new Set(),
    plan: { id: "", name: "", lanes: {} as TenantCard["plan"]["lanes"] },
  };
  return {
    tenant: nowhere,
    acting: nowhere,
    actor: { kind: "system", id: "anonymous", name: "anonymous" },
    onBehalfOf: null,
    via: { kind: "job", id: "", hint: null, clientId: null, grantId: null },
    scopes: [],
    readOnly: false,
    authTime: null,
    grants: [],
  };
})();

/** A context for reading: nothing can be told or recorded, and there is no transaction to undo. */
export function readingContext(kernel: Kernel, caller: Caller): Context {
  const refuseChange = (): never => {
    throw new Error("A call that only reads cannot change anything.");
  };
  return {
    ...common(kernel, caller),
    db: kernel.db.in(caller.who.acting.id),
    open: caller.who === anonymous ? openDoor(kernel, caller) : null,
    emit: refuseChange,
    audit: refuseChange,
    mail: refuseChange,
    startOperation: refuseChange,
    forget: refuseChange,
    prepareTenant: refuseChange,
    moveTenant: refuseChange,
    clearUser: refuseChange,
    redactEvents: refuseChange,
    async awaitOperation(operationId, seconds) {
      await kernel.operations.settled(caller.who.acting.id, operationId, seconds * 1_000);
    },
    attempt: (part) => part(),
    transaction: (part) => inTransaction(kernel, caller, part),
  };
}

function openDoor(kernel: Kernel, caller: Caller): OpenDoor {
  return {
    system: kernel.system.in(""),
    charge: async (bucket, rate) => kernel.throttle.chargeApart(bucket, rate),
    async as(tenantId, who, part) {
      const tenant = await kernel.gate.tenant(tenantId);
      // It is being purged at this moment.
      if (!tenant) throw refuse(notFound);
      const proved = { ...anonymous, ...who, tenant, acting: tenant, scopes: ["*"] };
      return inTransaction(kernel, { ...caller, who: proved }, part);
    },
    aside: kernel.aside,
  };
}

type Around<T> = { before(tx: Transaction): Promise<T | undefined>; after(tx: Transaction, value: T): Promise<void> };

/** Runs `part` in a transaction of the acting tenant; `before` and `after` run in it around the part. */
export function inTransaction<T>(
  kernel: Kernel,
  caller: Caller,
  part: (ctx: Context) => Promise<T>,
  around?: Around<T>,
): Promise<T> {
  return onFirmGround(kernel, caller.who, () => oneTransaction(kernel, caller, part, around));
}

async function oneTransaction<T>(
  kernel: Kernel,
  caller: Caller,
  part: (ctx: Context) => Promise<T>,
  around?: Around<T>,
): Promise<T> {
  let raised: Promise<Raised> | undefined;
  let wakes = false;
  let mails = false;
  let records = false;
  let tells = false;
  const result = await kernel.db.transaction(caller.who.acting.id, async (tx) => {
    raised = undefined;
    const stored = await around?.before(tx);
    if (stored !== undefined) {
      // The call that made this reply may still be waiting for other processes to hear what it took away: this one must know.
      await kernel.processes.catchUp(tx);
      return stored;
    }
    caller.warnings.length = 0;
    const gathered: Gathered = {
      news: [],
      changes: [],
      redacted: new Set(),
      forget: false,
      wakes: false,
      mails: false,
    };
    const ctx = writingContext(kernel, caller, tx, gathered);
    const value = await part(ctx);
    for (const statement of statementsOf(caller, gathered)) tx.fire(statement);
    await around?.after(tx, value);
    // Last, because it locks a row that all such changes share.
    if (gathered.forget) raised = kernel.processes.raise(tx);
    wakes = gathered.wakes;
    mails = gathered.mails;
    records = gathered.changes.length > 0;
    tells = gathered.news.length > 0;
    return value;
  });
  if (raised) await kernel.processes.spread(await raised);
  if (wakes) kernel.operations.wake();
  if (mails) kernel.mail.wake();
  if (records) kernel.sealer.wake();
  if (tells) kernel.events.wake();
  return result;
}

function common(kernel: Kernel, caller: Caller) {
  const { who, call, log, now, warnings } = caller;
  return {
    who,
    call,
    log,
    now,
    secrets: kernel.secrets,
    settings: kernel.settings,
    documents: kernel.documents,
    guard: kernel.guard,
    sendOnce: ((...message) => kernel.deliveries.sendOnce(...message)) satisfies Context["sendOnce"],
    operationKind: (kind: string) =>
      kernel.modules.flatMap((module) => module.operations ?? []).find((one) => one.kind === kind),
    levels: kernel.throttle.levels,
    eventLog: kernel,
    again: caller.again ?? (() => Promise.resolve(who)),
    async findNodes(this: Context, kind: string, ids: readonly string[]) {
      const owner = kernel.modules.find((module) => module.nodes?.kinds.includes(kind))?.nodes;
      return owner ? owner.find(this, kind, ids) : null;
    },
    warn(code: string, pointer?: string) {
      if (warnings.length < 20) warnings.push({ code, pointer });
    },
  };
}

function writingContext(kernel: Kernel, caller: Caller, tx: Transaction, gathered: Gathered): Context {
  const ctx: Context = {
    ...common(kernel, caller),
    db: tx as Db,
    emit(kind, news) {
      if (caller.emits && !caller.emits.includes(kind as EventKind))
        throw new Error(`The route does not declare the event ${kind.type}.`);
      gathered.news.push([kind as EventKind, news as EventNews]);
    },
    audit(change) {
      if (change.changes.length > 0 || change.action !== "updated") gathered.changes.push(change);
    },
    open: null,
    async mail(letter) {
      await queueMail(ctx, letter);
      gathered.mails = true;
    },
    forget() {
      gathered.forget = true;
    },
    async redactEvents(tenantId, subject) {
      gathered.redacted.add(subject);
      await redactLogged(tx, tenantId, subject);
    },
    async clearUser(userId) {
      for (const module of kernel.modules) await module.clearUser?.(ctx, userId);
    },
    async prepareTenant(tenant) {
      for (const module of kernel.modules) await module.prepareTenant?.(ctx, tenant);
    },
    async moveTenant(move) {
      for (const module of kernel.modules) await module.moveTenant?.(ctx, move);
    },
    startOperation(kind, start) {
      gathered.wakes = true;
      return insertOperation(ctx, kind, start);
    },
    awaitOperation() {
      throw new Error("Nothing waits inside a transaction.");
    },
    async attempt(part) {
      const marks = [gathered.news.length, gathered.changes.length] as const;
      try {
        return await tx.savepoint(part);
      } catch (error) {
        gathered.news.length = marks[0];
        gathered.changes.length = marks[1];
        throw error;
      }
    },
    transaction: (part) => part(ctx),
  };
  return ctx;
}

const insertNews = hot<{ rows: string }, never>("insert_news", ({ rows }) =>
  query(sql`insert into kernel.outbox (tenant_id, event_id, type, subject, occurred_at, data, owner_id, request_id, correlation_id)
    select tenant_id, event_id, type, subject, occurred_at, data, owner_id, request_id, correlation_id
    from jsonb_to_recordset(${rows}::jsonb) as r(tenant_id text, event_id text, type text, subject text, occurred_at timestamptz,
      data jsonb, owner_id text, request_id text, correlation_id text)`),
);
const insertChanges = hot<{ rows: string }, never>("insert_audit", ({ rows }) =>
  query(sql`insert into access.audit (tenant_id, id, at, type, action, item_kind, item_id, item_name, actor, on_behalf_of, via, request_id, changes, comment, search)
    select tenant_id, id, at, type, action, item_kind, item_id, item_name, actor, on_behalf_of, via, request_id, changes, comment, lower(search)
    from jsonb_to_recordset(${rows}::jsonb) as r(tenant_id text, id text, at timestamptz, type text, action text, item_kind text,
      item_id text, item_name text, actor jsonb, on_behalf_of jsonb, via jsonb, request_id text, changes jsonb, comment text, search text)`),
);

function statementsOf(caller: Caller, { news, changes, redacted }: Gathered): HotQuery<never>[] {
  const statements: HotQuery<never>[] = [];
  if (news.length > 0)
    statements.push(insertNews({ rows: JSON.stringify(news.map((one) => newsRow(caller, one, redacted))) }));
  if (changes.length > 0)
    statements.push(insertChanges({ rows: JSON.stringify(changes.map((one) => changeRow(caller, one))) }));
  return statements;
}

/** Octets of an event's `data` at most; its envelope has room below 16 KiB. */
const mostBytes = 15_360;

/**
 * The common shape of an event's `data` (notifications, part A); what would be too long is left to its `url`. The path
 * stands without a label: that is the reader's.
 */
function newsRow(
  { who, call, now }: Caller,
  [kind, news]: [EventKind, EventNews],
  redacted: ReadonlySet<string>,
): Record<string, unknown> {
  const data: Record<string, unknown> = {
    url: news.path,
    resource: news.resource,
    previous: news.previous,
    changed: news.changed,
    actor: { kind: who.actor.kind, id: who.actor.id },
    requestId: call.requestId,
    correlationId: call.correlationId,
    ...(news.adds as object | undefined),
  };
  if (Buffer.byteLength(JSON.stringify(data)) > mostBytes) {
    delete data.resource;
    delete data.previous;
    data.trimmed = true;
  }
  return {
    tenant_id: news.tenantId,
    event_id: newId("evt", now.getTime()),
    type: kind.type,
    subject: news.subject,
    occurred_at: now,
    data: redacted.has(news.subject) ? { redacted: true } : data,
    owner_id: news.ownerId ?? null,
    request_id: call.requestId,
    correlation_id: call.correlationId,
  };
}

function changeRow({ who, call, now }: Caller, change: AuditChange): Record<string, unknown> {
  const { actor, onBehalfOf, via, tenant } = who;
  const changes = change.changes.map(({ field, old, new: next }) => ({
    field,
    old: shortened(old),
    new: shortened(next),
  }));
  return {
    tenant_id: change.tenantId,
    id: newId("aud"),
    at: now,
    type: change.type,
    action: change.action,
    item_kind: change.item.kind,
    item_id: change.item.id,
    item_name: change.item.name,
    actor: { ...actor, tenantName: tenant.name },
    on_behalf_of: onBehalfOf,
    via,
    request_id: call.requestId,
    changes,
    comment: change.comment ?? null,
    search: [
      actor.name,
      actor.id,
      change.item.name,
      change.item.id,
      change.action,
      change.comment ?? "",
      JSON.stringify(changes),
    ]
      .join("\n")
      .normalize("NFC"),
  };
}

/** Values over 2,000 characters: the first 200 and their SHA-256 (access, section 8). */
function shortened(value: unknown): unknown {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text === undefined || text.length <= 2_000) return value;
  return { start: text.slice(0, 200), sha256: hash("sha256", text, "hex") };
}
