/**
 * Work that outlasts its request (notifications, part D): what a module states of a kind of operation, the resource that
 * callers watch, and the events that tell of it. The runner is operation-runner.ts.
 */
import { sql } from "kysely";
import { type Static, type TSchema, Type } from "typebox";
import type { Context } from "./contract.ts";
import type { Db } from "./db.ts";
import { permittedEvents } from "./event-reader.ts";
import { event } from "./events.ts";
import type { AddressGuard } from "./outbound-guard.ts";
import type { Principal } from "./principal.ts";
import { type Problem, problem } from "./problem.ts";
import { id, instant, nullable, object, oneOf, text } from "./schema.ts";

export type OperationStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
export const operationStatuses = ["queued", "running", "succeeded", "failed", "cancelled", "expired"] as const;

/** A kind of operation. `run` may be started again after a crash, so each of its steps must bear repetition. */
// biome-ignore lint/suspicious/noExplicitAny: a registry holds kinds of every input type
export type OperationKind<I = any> = {
  readonly kind: string;
  readonly summary: string;
  /** What `result.data` holds. */
  readonly result: TSchema;
  /**
   * What happens when its process died: begin again (three times at most), or end as `failed`, `interrupted`. `always`:
   * begin again however often, and wait in the queue for as long as it takes.
   */
  readonly restart: "again" | "fail" | "always";
  /** Runs as the system, on behalf of who started it: also when that one may no longer act. */
  readonly as?: "system";
  /** One at a time per subject. */
  readonly exclusive: boolean;
  readonly maxMinutes: number;
  /** `queued`: until it begins. */
  readonly cancellable: boolean | "queued";
  /** Whether one more may run beside those that run now; the rest wait as `queued`. */
  admits?(candidate: OperationPlace<I>, running: readonly OperationPlace[], now: Date): boolean;
  run(work: OperationWork, input: I): Promise<OperationResult>;
  /** Runs in the transaction that ends the operation without success; `error` where it failed. */
  ended?(
    ctx: Context,
    operation: OperationPlace<I>,
    status: "failed" | "cancelled" | "expired",
    error?: Problem,
  ): Promise<void>;
};
// biome-ignore lint/suspicious/noExplicitAny: as above
export type OperationPlace<I = any> = { id: string; kind: string; tenantId: string; subject: string | null; input: I };
/** `notBefore`: it stays queued until then. */
export type OperationStart<I> = { tenantId: string; subject: string | null; input: I; notBefore?: Date };
/**
 * `url`: path of what came out, below the label. `store` writes it in the transaction of the final state; a Problem that
 * it throws undoes that, and the operation fails with it instead.
 */
export type OperationResult = { url: string | null; data: unknown; store?(ctx: Context): Promise<void> };

/** What running work sees: the principal that started it, with its rights as they are now, and ways to read and write. */
export type OperationWork = {
  id: string;
  tenantId: string;
  who: Principal;
  signal: AbortSignal;
  now(): Date;
  guard: AddressGuard;
  db: Db;
  /** `actingId`: another tenant to act in, for kinds that run as the system. */
  transaction<T>(part: (ctx: Context) => Promise<T>, actingId?: string): Promise<T>;
  /** Destroys a tenant's data keys, then what the modules keep of it, then all its rows but its own (purge.ts). */
  purgeTenant(tenantId: string): Promise<void>;
  progress(done: number, total: number | null, note?: string): Promise<void>;
};

export const operationRunning = problem("operation_running", 409, "Such an operation is already running.");
export const operationNotCancellable = problem(
  "operation_not_cancellable",
  409,
  "The operation can no longer be cancelled.",
);
/** What a caller who waited gets when the work was cancelled or took too long. */
export const operationEnded = problem("operation_ended", 409, "The operation ended without a result.");
/** The `error` of an operation whose process died too often, or whose starter is gone. */
export const interrupted = problem("interrupted", 500, "The work was interrupted.");

const anything = Type.Unsafe<unknown>({});

export const Operation = object(
  {
    id: id("opn"),
    kind: Type.String({ examples: ["monitoring.test"] }),
    status: oneOf(operationStatuses, { "x-closed": true }),
    progress: object({
      done: Type.Integer(),
      total: nullable(Type.Integer()),
      note: nullable(Type.String()),
    }),
    subject: nullable(Type.String({ description: "Id of the resource that the work is about." })),
    result: nullable(object({ url: nullable(Type.String()), data: anything })),
    error: nullable(Type.Object({}, { additionalProperties: true, description: "A problem object." })),
    correlationId: nullable(text(128)),
    ownerId: Type.String(),
    createdAt: instant,
    notBefore: nullable(instant),
    startedAt: nullable(instant),
    finishedAt: nullable(instant),
    expiresAt: nullable(Type.String({ format: "date-time", description: "When it is removed." })),
  },
  { title: "Operation" },
);

/** Whoever started an operation hears of it without any permission. */
const ownOrPermitted = (who: Principal) =>
  sql<boolean>`(e.owner_id = ${who.actor.id} or ${permittedEvents(who, "operation.read")})`;

function linkedResult(operation: Record<string, unknown>, prefix: string): Record<string, unknown> {
  const { result } = operation as Static<typeof Operation>;
  return result?.url ? { ...operation, result: { ...result, url: prefix + result.url } } : operation;
}

const told = (verb: string, summary: string) =>
  event("notifications", `operation.${verb}`, {
    permission: "operation.read",
    summary,
    resource: Operation,
    visible: ownOrPermitted,
    linked: linkedResult,
  });

/** By status, and `progressed`. */
export const operationEvents = {
  queued: told("queued", "An operation was accepted."),
  running: told("started", "An operation began."),
  progressed: told("progressed", "An operation went on; at most every 5 s."),
  succeeded: told("succeeded", "An operation ended well."),
  failed: told("failed", "An operation ended without success."),
  cancelled: told("cancelled", "An operation was cancelled."),
  expired: told("expired", "An operation waited or ran too long."),
};
