import type { FastifyRequest } from "fastify";
import type { Logger } from "pino";
import type { Activity } from "./activity.ts";
import type { Module } from "./contract.ts";
import type { Database } from "./db.ts";
import type { Deliveries } from "./delivery/engine.ts";
import type { Documents } from "./documents.ts";
import type { EventLog } from "./event-log.ts";
import type { Listener } from "./listener.ts";
import type { Operations } from "./operation-runner.ts";
import type { AddressGuard } from "./outbound-guard.ts";
import type { Post } from "./post.ts";
import type { Principal, TenantCard } from "./principal.ts";
import type { Processes } from "./processes.ts";
import type { Secrets } from "./secrets.ts";
import type { Throttle } from "./throttle.ts";
import type { Versions } from "./versions.ts";

/** Why a credential was refused: shown to the owner in the activity log, never to the caller. */
export type RefusalReason = "unknown" | "expired" | "revoked" | "disabled" | "address" | "blocked" | "malformed";

/** What a credential turned out to be. A recognised but refused one names its tenant, whose log the call belongs to. */
export type Verdict =
  /** `expiresAtMs`: when the credential ends by itself; Infinity: never. */
  | { ok: true; who: Principal; expiresAtMs: number }
  | { ok: false; reason: RefusalReason; tenantId: string | null; hint?: string; retryAfterSeconds?: number };

/** What the module that owns credentials and tenants does for the front door. Answers at once when it knows by heart. */
export type Gate = {
  authenticate(credential: string, address: string): Verdict | Promise<Verdict>;
  /** The principal of work that was started earlier, with its rights as they are now; null when it has none left. */
  principalOf(actor: { kind: string; id: string }, tenantId: string): Promise<Principal | null>;
  tenant(idOrCode: string): TenantCard | null | Promise<TenantCard | null>;
};

/** Gives the entries of the audit trail their places in the chains of their tenants, off the calls' path. */
export type Sealer = {
  /** There are new entries. */
  wake(): void;
  /** Seals what can be sealed at this moment, unless another process is at it. */
  sealNow(): Promise<void>;
  stop(): Promise<void>;
};

export type Settings = {
  publicUrl: string;
  production: boolean;
  dataDir: string;
  release: string;
  trustedProxies: readonly string[];
  corsOrigins: readonly string[];
  outboundAllow: readonly string[];
  tcpProbePorts: readonly number[];
  passwordGrant: boolean;
  oauthAlgorithm: "RS256" | "ES256";
  /** Days between the deletion of a tenant and its purge. */
  tenantPurgeDays: number;
  activityDays: number;
  auditMonths: number;
  auditHeadsFile: string;
  eventsDays: number;
  requestSeconds: number;
  /** Who may read documents and pages: everybody, or whoever shows a credential or has logged in. */
  docsAccess: "public" | "signed-in";
  stomp: StompSettings;
  /** Where mail goes out; `smtpUrl` null: nowhere. */
  mail: { smtpUrl: string | null; from: string };
};

export type StompSettings = {
  loginSeconds: number;
  preLoginBytes: number;
  /** Milliseconds: how often we can send, how often we want to hear. */
  heartBeat: readonly [number, number];
  maxDeliveries: number;
  /** Origins whose pages may open a session, beside our own. */
  origins: readonly string[];
  /** 0: none. */
  tcpPort: number;
  /** Sessions at most: of a principal, of a tenant, of a process. */
  sessions: { principal: number; tenant: number; process: number };
  /** Null: profile `events`, where nobody may SEND. */
  chat: { patterns: readonly string[]; logins: ReadonlyMap<string, string>; path: string | null } | null;
};

/** What runs under every module: made once by `app.ts`, handed to the modules' `start`. */
export type Kernel = {
  settings: Settings;
  /** The clock of the installation; tests move it. */
  now(): Date;
  log: Logger;
  /** As the server's role, behind the tenant wall. */
  db: Database;
  /** As the role of relay, purge and look-ups across tenants. */
  system: Database;
  /** What other processes say: hints, with a word when some may have been missed. */
  listener: Listener;
  processes: Processes;
  secrets: Secrets;
  versions: Versions;
  throttle: Throttle;
  activity: Activity;
  sealer: Sealer;
  modules: readonly Module[];
  gate: Gate;
  /** Whether somebody has logged in in the browser that asks. */
  hasLogIn(request: FastifyRequest): Promise<boolean>;
  /** Decides which hosts this server may contact: devices under test, receivers of deliveries. */
  guard: AddressGuard;
  operations: Operations;
  deliveries: Deliveries;
  events: EventLog;
  documents: Documents;
  mail: Post;
  /** Work that no reply waits for; the end of the server does. What fails is logged. */
  aside(work: Promise<unknown>): void;
  /**
   * Tells the caches of all processes that something was taken away by other means than a Context; resolves as the reply
   * of such a call would.
   */
  forget(): Promise<void>;
};
