/** What a module states of a kind of outbound message, and what the engine tells it (exchange, section 6). */
import type { Context } from "../contract.ts";
import type { Kernel, Settings } from "../kernel.ts";
import type { SigningKeys } from "./signature.ts";

export type DeliveryStatus = "pending" | "retrying" | "held" | "delivered" | "dead" | "discarded";

export type AttemptOutcome =
  | "delivered"
  | "http_error"
  | "timeout"
  | "dns"
  | "tls"
  | "connection"
  | "refused_address"
  | "redirect"
  | "throttled";

/** A row of `kernel.delivery`. */
export type DeliveryRow = {
  tenant_id: string;
  id: string;
  kind: string;
  target_id: string;
  message_id: string;
  about: string;
  ordinal: number;
  status: DeliveryStatus;
  body: string | null;
  attempts: number;
  tries: number;
  replay_count: number;
  replay_id: string | null;
  next_attempt_at: Date | null;
  created_at: Date;
  updated_at: Date;
};

/** A row of `kernel.delivery_attempt`. */
export type AttemptRow = {
  tenant_id: string;
  delivery_id: string;
  number: number;
  at: Date;
  duration_ms: number;
  outcome: AttemptOutcome;
  status: number | null;
  error: string | null;
  address: string | null;
  url: string;
  request_headers: Record<string, string>;
  reply_headers: Record<string, string | string[]> | null;
  reply_body: string | null;
  next_attempt_at: Date | null;
};

/** Where a target's messages go, and what goes with them. Values of `headers` are secrets. */
export type Address = { url: string; headers: Readonly<Record<string, string>>; keys: SigningKeys };

/** `replaces`: what an earlier attempt sent must not be sent again, because a person was erased from it. */
export type Rendered = { contentType: string; body: string; replaces?: boolean };

/** What a delivery says, and where it goes. */
export type Outgoing = Rendered & { address: Address };

/** Why the engine switched a target off: its receiver answered 410, or failed for too long. */
export type OffReason = "gone" | "failing";

export type DeliveryKind = {
  /** Unique over all modules. */
  readonly kind: string;
  /** How long deliveries are kept, whatever became of them. */
  keptDays(settings: Settings): number;
  /**
   * What deliveries say and where they go, by their ids, asked before every attempt: one without an answer is discarded,
   * because its recipient may no longer be told. All attempts send what the first did. `owner_off`: on whose behalf it
   * is made may not act for the time being; all of its target is held until `mayGoOn`.
   */
  outgoing(kernel: Kernel, deliveries: readonly DeliveryRow[]): Promise<ReadonlyMap<string, Outgoing | "owner_off">>;
  /** Those of held targets whose owner is not off any more. Asked twice a second while there are any. */
  mayGoOn(kernel: Kernel, targetIds: readonly string[]): Promise<readonly string[]>;
  /** The last try failed. In the transaction that says so; acts in the delivery's tenant, as the next two. */
  dead(ctx: Context, delivery: DeliveryRow): Promise<void>;
  /** Nothing but failures for 24 h, and again for 96 h. */
  warned(ctx: Context, targetId: string): Promise<void>;
  /** Off from now on. */
  disabled(ctx: Context, targetId: string, reason: OffReason): Promise<void>;
};

/** How a target is treated; exchange, 6.2. */
export type TargetSettings = {
  strict: boolean;
  maxInFlight: number;
  ratePerSecond: number | null;
  retrySeconds: readonly number[];
  disableAfterHours: number;
};

/** The waits of the default schedule: ten attempts in three days. */
export const defaultRetrySeconds: readonly number[] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
