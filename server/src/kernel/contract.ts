/**
 * The contract between the kernel and a module. The route table that modules state here is data: the front door, the
 * documents, the permission list, the sweep test and the clients are all made from it.
 */
import type { Logger } from "pino";
import type { Static, TObject, TSchema } from "typebox";
import type { AuditChange } from "./audit.ts";
import type { Db } from "./db.ts";
import type { DeliveryKind } from "./delivery/contract.ts";
import type { SendOnce } from "./delivery/engine.ts";
import type { Documents } from "./documents.ts";
import type { LogAccess } from "./event-reader.ts";
import type { EventKind, EventNews } from "./events.ts";
import type { JobKind } from "./jobs.ts";
import type { Settings } from "./kernel.ts";
import type { SealedColumn } from "./key-rotation.ts";
import type { Letter } from "./mail.ts";
import type { OperationKind, OperationStart } from "./operations.ts";
import type { AddressGuard } from "./outbound-guard.ts";
import type { Permission, Service } from "./permissions.ts";
import type { Lane, LaneName, Principal } from "./principal.ts";
import type { Fault, ProblemKind } from "./problem.ts";
import type { Secrets } from "./secrets.ts";
import type { Levels } from "./throttle.ts";
import type { Rate } from "./throttle-core.ts";

/** What the call brought beside its body: who may need it asks for it here, so that operations know no HTTP. */
export type Call = {
  requestId: string;
  correlationId: string | null;
  /** The label the caller used, for links in replies; the version that serves it. */
  label: string;
  version: string;
  /** The path below the label and the query as they came, for `nextLink`. */
  path: string;
  search: string;
  address: string;
  /** Entity tags of `If-Match`; null when absent. */
  ifMatch: readonly string[] | null;
  /** Entity tags of `If-None-Match`, which only upserts look at themselves; null when absent. */
  ifNoneMatch: readonly string[] | null;
  /** The header `Last-Event-ID`, with which a broken event stream is opened again; null when absent. */
  lastEventId: string | null;
  /** Seconds of `Prefer: wait=N` (1-30), or true for `respond-async`. */
  prefer: { wait: number | null; respondAsync: boolean };
};

/** What an operation of an open route has besides: its caller is nobody yet, and proves by what it sends who it is. */
export type OpenDoor = {
  /** Looks across tenants, as the system's role. */
  system: Db;
  /** Takes one call from a bucket: the seconds to wait, or null when admitted. */
  charge(bucket: string, rate: Rate): Promise<number | null>;
  /** Runs a part as the one whom the caller proved to be, in a transaction of that one's tenant. */
  as<T>(
    tenantId: string,
    who: Pick<Principal, "actor" | "via" | "grants">,
    part: (ctx: Context) => Promise<T>,
  ): Promise<T>;
  /** Work that the reply does not wait for, so that its time tells nothing. */
  aside(work: Promise<unknown>): void;
};

/** All that an operation works with. One database handle, on the transaction of the call where there is one. */
export type Context = {
  db: Db;
  who: Principal;
  call: Call;
  log: Logger;
  now: Date;
  secrets: Secrets;
  settings: Settings;
  /** Tells of a change of state; stored in the transaction of the change. */
  emit<D extends object>(kind: EventKind<D>, news: EventNews<D>): void;
  /** Records who changed what, in the transaction of the change. Nothing changed: do not call it. */
  audit(change: AuditChange): void;
  /** Adds a finding to `Demarc-Warning`; the call succeeds all the same. */
  warn(code: string, pointer?: string): void;
  /** Puts a mail on its way: it goes out once the transaction has committed. */
  mail(letter: Letter): Promise<void>;
  /** Open routes alone. */
  open: OpenDoor | null;
  /** Something was taken away (a right, a credential, a switch): the reply waits until no cache admits it any more. */
  forget(): void;
  /** Starts long work in the transaction of the call (notifications, part D). Of an exclusive kind,
   *  the one under way on the subject is returned, with `started` false. */
  startOperation<I>(kind: OperationKind<I>, start: OperationStart<I>): Promise<{ id: string; started: boolean }>;
  /** Lets every module make what it keeps per tenant; for the operation that makes tenants. */
  prepareTenant(tenant: MadeTenant): Promise<void>;
  /** Lets every module follow a tenant to its new parent; for the operation that moves tenants. */
  moveTenant(move: TenantMove): Promise<void>;
  /** Lets every module drop what it keeps of a user; for the operation that removes users. */
  clearUser(userId: string): Promise<void>;
  /**
   * Takes the data out of everything that was told about a subject, and out of what this transaction tells of it: for
   * the operation that erases a person. The numbers stay.
   */
  redactEvents(tenantId: string, subject: string): Promise<void>;
  /** The event log, for calls that read or follow it. */
  eventLog: LogAccess;
  /**
   * The caller as it is at this moment, by the same credential; refuses as the front door would, once it may no longer
   * make this call. For calls that go on for long.
   */
  again(): Promise<Principal>;
  /** Decides which addresses this server may call. */
  guard: AddressGuard;
  /** Sends one message to a receiver at once; not inside a transaction. */
  sendOnce: SendOnce;
  /** What describes this server: versions, OpenAPI. */
  documents: Documents;
  /** A kind of operation by its name, as some module states it. */
  operationKind(kind: string): OperationKind | undefined;
  /** The nodes that an assignment may be limited to, by the module that owns them: id -> tenant, of those that exist
   *  and that the caller may see. null: no module has nodes of this kind. */
  findNodes(kind: string, ids: readonly string[]): Promise<ReadonlyMap<string, string> | null>;
  /** A tenant's limits at this instant; `unspent` as far as this process holds any of it. */
  levels(tenantId: string, lanes: Record<LaneName, Lane>): Promise<Levels>;
  /** Waits until an operation has ended, at most `seconds`; for calls that read. */
  awaitOperation(operationId: string, seconds: number): Promise<void>;
  /** Runs a part that may fail by itself: a Problem undoes its rows, news and records, and is thrown on. */
  attempt<T>(part: () => Promise<T>): Promise<T>;
  /** For routes with `transaction: "own"`: opens one, after slow work (hashing) was done outside. */
  transaction<T>(part: (ctx: Context) => Promise<T>): Promise<T>;
};

type ParamNames<P extends string> = P extends `${string}{${infer N}}${infer Rest}` ? N | ParamNames<Rest> : never;
type StaticOr<S, D> = S extends TSchema ? Static<S> : D;
type Replies = Readonly<Record<number, TSchema | null>>;
type ReplyBody<R extends Replies> = { [S in keyof R]: R[S] extends TSchema ? Static<R[S]> : undefined }[keyof R];

/** A reply with more than a body. `etag` overrides the one made from the body; `links` are paths below the label. */
export class Reply<B = unknown> {
  readonly status: number;
  readonly body: B;
  readonly extra: { location?: string; etag?: string; headers?: Record<string, string> };
  constructor(status: number, body: B, extra: Reply["extra"] = {}) {
    this.status = status;
    this.body = body;
    this.extra = extra;
  }
}

type Access = Permission | "any" | "open";
export type RouteInput<P extends string, Q, B> = {
  params: Record<ParamNames<P>, string>;
  query: StaticOr<Q, Record<string, never>>;
  body: StaticOr<B, undefined>;
};

type RouteBase<P extends string, Q, B, R extends Replies> = {
  path: P;
  /** Where the route lives: `v1+`, `v1-v2`, `v2`. */
  versions: string;
  /** Operation id, `verbNoun`, unique over all services. */
  id: string;
  summary: string;
  description?: string;
  /** What the caller must hold somewhere in reach; `any`: a valid credential suffices; `open`: none is asked for. */
  permission: Access;
  /** With `any`: the scope that a credential needs all the same, as a refusal names it; `*` unless said otherwise. */
  scope?: Permission;
  query?: Q;
  body?: B;
  /** The operation's rules that need no stored state, for a body that already has faults: all are told at once. */
  check?(body: Partial<StaticOr<B, never>>): Fault[];
  /** The success replies; the single one is the status of a plain return value. null: no body. */
  replies: R;
  problems?: readonly ProblemKind[];
  lane?: LaneName;
  /** A bucket of this route alone, beside the lane, per tenant. */
  ownBucket?: { name: string; ratePerSecond: number; burst: number };
  /** Octets; 1 MiB unless said otherwise. */
  bodyLimitBytes?: number;
  /** The body may be left out. */
  bodyOptional?: boolean;
  /** Members of the reply that are shown once: a replay keeps them, sealed, for 10 minutes, then null (access, section 7). */
  secret?: string | readonly string[];
  preview?: boolean;
  /** A document about the API, for whom `docs.access` lets read it. */
  isDocument?: true;
  /** Answers 202 with an operation; heeds `Prefer: wait=N` and `respond-async` (RFC 7240). */
  async?: true;
  /** Request headers that this route heeds, beside those that all do. */
  heeds?: readonly ("Prefer" | "Last-Event-ID")[];
  /** Instants (RFC 3339), and the path below the label that takes its place. It ends with its version, not before. */
  deprecated?: { at: string; sunset: string; successor: string };
  run(ctx: Context, input: RouteInput<P, Q, B>): Promise<ReplyBody<R> | Reply> | ReplyBody<R> | Reply;
};
type ReadRoute = { method: "GET" };
type WriteRoute = {
  method: "POST" | "PUT" | "PATCH" | "DELETE";
  /** The events of this change, or why there are none: a change nobody hears of must be a decision. */
  emits: readonly EventKind[] | { none: string };
  /** A POST that only reads (a dry run, a search with a body) is open to read scopes and read-only keys. */
  effect?: "read" | "write";
  /** `own`: the operation opens its transaction itself, by `ctx.transaction`. */
  transaction?: "own";
};
export type RouteDefinition<P extends string, Q, B, R extends Replies> = RouteBase<P, Q, B, R> &
  (ReadRoute | WriteRoute);
/** A route whose types have been checked: what the kernel keeps in its table. */
// biome-ignore lint/suspicious/noExplicitAny: the table holds routes of every input type
export type Route = RouteDefinition<string, TObject | undefined, TSchema | undefined, any>;

/** States a route. A wrong body or reply type, a missing permission or missing `emits` does not compile. */
export function route<
  const P extends string,
  Q extends TObject | undefined,
  B extends TSchema | undefined,
  const R extends Replies,
>(definition: RouteDefinition<P, Q, B, R>): Route {
  return definition as unknown as Route;
}

/** A tenant that was just made: what every module needs to make what it keeps per tenant. */
export type MadeTenant = {
  id: string;
  parentId: string | null;
  kind: "provider" | "partner" | "customer";
  name: string;
  timeZone: string;
};

/** A tenant that was just hung below another parent; all below it came along. */
export type TenantMove = { id: string; fromParentId: string; parentId: string };

export type Stop = () => Promise<void>;
export type Module = {
  name: Service;
  /** One sentence for the index page and the OpenAPI document. */
  about: string;
  routes?: readonly Route[];
  events?: readonly EventKind[];
  operations?: readonly OperationKind[];
  jobs?: readonly JobKind[];
  /** Every column of this module's tables that holds values of Context.secrets. */
  sealed?: readonly SealedColumn[];
  deliveries?: readonly DeliveryKind[];
  /** Nodes of this module that an assignment may be limited to (access, section 3); see Context.findNodes. */
  nodes?: {
    kinds: readonly string[];
    find(ctx: Context, kind: string, ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
  };
  /**
   * Makes, in the transaction that makes a tenant, what this module keeps per tenant; acts in the parent. For the root
   * tenant it runs at every start, so it must bear repetition.
   */
  prepareTenant?(ctx: Context, tenant: MadeTenant): Promise<void>;
  /**
   * Follows a tenant to its new parent, in the transaction that moves it; acts above both parents. What this module keeps
   * of tenants that are no longer above it, and must not reach it any more, goes here.
   */
  moveTenant?(ctx: Context, move: TenantMove): Promise<void>;
  /**
   * Deletes for good what this module keeps of a tenant outside its tables: files, what lies with others. Rows with the
   * tenant's `tenant_id` go by themselves, afterwards. May be called again.
   */
  purge?(kernel: import("./kernel.ts").Kernel, tenantId: string): Promise<void>;
  /** Drops, in the transaction that removes a user, what this module keeps of it. */
  clearUser?(ctx: Context, userId: string): Promise<void>;
  /** Serves addresses outside the route table (OAuth, pages), with rules of their own, in a scope of their own. */
  mount?(http: import("fastify").FastifyInstance, kernel: import("./kernel.ts").Kernel): Promise<void> | void;
  start?(kernel: import("./kernel.ts").Kernel): Promise<Stop>;
};
