import type { TSchema } from "typebox";
import type { Db } from "./db.ts";
import type { Permission } from "./permissions.ts";
import type { Principal } from "./principal.ts";

/**
 * A kind of work that outlasts its request (notifications, part D). `run` gets the stored input and may be started again
 * after a crash (`restart: "again"`, three times at most), so each of its steps must bear repetition.
 */
// biome-ignore lint/suspicious/noExplicitAny: a registry holds kinds of every input type
export type OperationKind<I = any> = {
  readonly kind: string;
  readonly summary: string;
  readonly result: TSchema;
  readonly restart: "again" | "fail";
  /** One at a time per subject. */
  readonly exclusive: boolean;
  readonly maxMinutes: number;
  readonly cancellable: boolean;
  run(work: OperationWork, input: I): Promise<OperationResult>;
  /** Called in the transaction that ends the operation without success (cancelled, failed, expired). */
  settled?(work: OperationWork, input: I, status: "failed" | "cancelled" | "expired"): Promise<void>;
};

export type OperationStart<I> = { tenantId: string; subject: string | null; input: I };
/** `url` is the path of what came out, below the label, or null. */
export type OperationResult = { url: string | null; data: unknown };

/** What running work sees: the principal that started it, as its rights are now, and a way to write. */
export type OperationWork = {
  id: string;
  tenantId: string;
  who: Principal;
  signal: AbortSignal;
  /** Single statements in the operation's tenant. */
  db: Db;
  transaction<T>(part: (ctx: import("./contract.ts").Context) => Promise<T>): Promise<T>;
  progress(done: number, total: number | null, note?: string): Promise<void>;
  /** The permission check of a rule, at this moment. */
  holds(permission: Permission): boolean;
};
