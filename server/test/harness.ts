/**
 * A whole server for tests: real HTTP on loopback, a database of its own, a clock that the test moves. Every reply that
 * a test sees is checked against what its route declares, so that no test can pass on an undocumented answer.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import pg from "pg";
import pino from "pino";
import { type App, type AppParts, buildApp } from "../src/app.ts";
import { inTransaction, systemCaller } from "../src/kernel/context.ts";
import type { Context } from "../src/kernel/contract.ts";
import { credentialDigest, mintCredential } from "../src/kernel/credential.ts";
import { newId } from "../src/kernel/ids.ts";
import type { Settings } from "../src/kernel/kernel.ts";
import type { Permission } from "../src/kernel/permissions.ts";
import { loadMasterKeys, type MasterKeys } from "../src/kernel/secrets.ts";
import { faultsOfEvents, told } from "./check-event.ts";
import { checkReply } from "./check-reply.ts";
import { createTestDatabase } from "./database.ts";
import { checkWire, knowServer } from "./wire.ts";

export type Answer = { status: number; headers: Headers; text: string; body: any };
type Ask = {
  key?: string;
  token?: string;
  body?: unknown;
  /** A body as it stands, for malformed ones. */
  raw?: string | Uint8Array;
  headers?: Record<string, string>;
};

export type TestServer = Awaited<ReturnType<typeof startServer>>;

type Options = Partial<
  Pick<AppParts, "modules" | "versions" | "changes" | "betaEnabled" | "limiter" | "redisUrl" | "log">
> & {
  settings?: Partial<Settings>;
  /** Another server on the database, and under the master keys, of one that runs or has run. */
  beside?: { databaseUrl: string; masterKeys: MasterKeys };
  startsAt?: string;
};

/** What to end after the file's tests, the youngest first: a server that stands on another one's database goes before it. */
const ends: (() => Promise<void>)[] = [];
after(async () => {
  const failures: unknown[] = [];
  // Whatever fails, nothing stays open that would keep the process.
  for (const end of ends) await end().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
  checkWire();
});

/** Starts a server; it ends with the test file. Its plan allows tests any rate; see `plan` for those of limits. */
export async function startServer(options: Options = {}) {
  const database = options.beside ? null : await createTestDatabase();
  const databaseUrl = options.beside?.databaseUrl ?? database!.url;
  const dataDir = mkdtempSync(join(tmpdir(), "demarc-data-"));
  const clock = { at: new Date(options.startsAt ?? "2026-11-22T10:00:00.000Z") };
  const masterKeys = options.beside?.masterKeys ?? loadMasterKeys({ production: false, dataDir, warn: () => {} });
  const settings: Settings = {
    publicUrl: "http://localhost",
    production: false,
    dataDir,
    release: "0.0.0-test",
    trustedProxies: [],
    corsOrigins: [],
    outboundAllow: ["127.0.0.0/8"],
    tcpProbePorts: [22, 80, 443, 830],
    passwordGrant: true,
    oauthAlgorithm: "RS256",
    activityDays: 30,
    auditMonths: 24,
    auditHeadsFile: "",
    tenantPurgeDays: 30,
    eventsDays: 30,
    requestSeconds: 30,
    docsAccess: "public",
    stomp: {
      loginSeconds: 10,
      preLoginBytes: 16_384,
      heartBeat: [10_000, 10_000],
      maxDeliveries: 10,
      origins: [],
      tcpPort: 0,
      sessions: { principal: 20, tenant: 200, process: 10_000 },
      chat: null,
    },
    mail: { smtpUrl: null, from: "Demarc <demarc@localhost>" },
    ...options.settings,
  };
  const app: App = await buildApp({
    settings,
    databaseUrl,
    pool: 8,
    masterKeys,
    log: options.log ?? pino({ level: process.env.DEMARC_TEST_LOG ?? "fatal" }),
    now: () => new Date(clock.at),
    modules: options.modules,
    versions: options.versions,
    changes: options.changes,
    betaEnabled: options.betaEnabled,
    limiter: options.limiter ?? "auto",
    redisUrl: options.redisUrl ?? "",
  });
  await app.http.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.http.server.address() as { port: number };
  const url = `http://127.0.0.1:${port}`;
  settings.publicUrl = options.settings?.publicUrl ?? url;
  knowServer(settings.publicUrl, app.kernel);
  const owner = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  // Beside another server the plans are that one's.
  if (!options.beside)
    await owner.query(
      `update access.plan set lanes = '{"api":{"ratePerSecond":10000,"burst":100000,"perDay":null},"scim":{"ratePerSecond":10000,"burst":100000,"perDay":null},"publish":{"ratePerSecond":10000,"burst":100000,"perDay":null}}'`,
    );
  if (database) await owner.query(told);
  await app.kernel.forget();
  let closed = false;
  /** Ends this server; its database stays until the test file ends. */
  async function close(): Promise<void> {
    if (closed) return;
    closed = true;
    const faults = await faultsOfEvents(app.kernel, owner);
    await app.close();
    await owner.end();
    rmSync(dataDir, { recursive: true, force: true });
    assert.deepEqual(faults, [], "an event does not match the schema of its type");
  }
  ends.unshift(async () => {
    await close();
    await database?.drop();
  });

  async function call(method: string, path: string, ask: Ask = {}): Promise<Answer> {
    const headers: Record<string, string> = { ...ask.headers };
    if (ask.key) headers["x-api-key"] = ask.key;
    if (ask.token) headers.authorization = `Bearer ${ask.token}`;
    if (ask.body !== undefined || ask.raw !== undefined) headers["content-type"] ??= "application/json";
    const response = await fetch(url + path, {
      method,
      headers,
      body: (ask.raw ?? (ask.body === undefined ? undefined : JSON.stringify(ask.body))) as string | undefined,
      redirect: "manual",
    });
    const text = await response.text();
    const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "");
    const answer: Answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson && text ? JSON.parse(text) : null,
    };
    checkReply(app.kernel, method, path, answer);
    return answer;
  }

  /** Runs a part as the system in a tenant, through the same context as a call's. */
  async function as<T>(tenantId: string, part: (ctx: Context) => Promise<T>): Promise<T> {
    const card = await app.kernel.gate.tenant(tenantId);
    return inTransaction(app.kernel, systemCaller(app.kernel, card!, "test"), part);
  }

  /** A tenant below another, made directly; `features` are switched on beside `api` and the services. */
  async function tenant(
    parentId: string,
    kind: "partner" | "customer",
    name: string,
    features: Record<string, boolean> = {},
  ): Promise<string> {
    const id = newId("tnt");
    const on = {
      api: true,
      monitoring: true,
      desk: true,
      directory: true,
      exchange: true,
      notifications: true,
      export: true,
      beta: false,
      passwordGrant: false,
      exchangeProvider: false,
      ...features,
    };
    await owner.query(
      `insert into access.tenant (id, parent_id, kind, name, code, time_zone, features, limits, auth_policy, created_at, updated_at)
       values ($1, $2, $3, $4, $5, 'UTC', $6, '{"maxKeys":30,"maxIntegrationKeys":100}', '{"mfa":"optional","sessionIdleMinutes":30,"sessionMaxHours":12,"selfServiceKeys":false}', $7, $7)`,
      [id, parentId, kind, name, `${name.toLowerCase().replaceAll(/[^a-z0-9]/g, "")}-${id.slice(-6)}`, on, clock.at],
    );
    await app.kernel.forget();
    await as(parentId, (ctx) => ctx.prepareTenant({ id, parentId, kind, name, timeZone: "UTC" }));
    return id;
  }

  /** A standard key that holds exactly these permissions (or a built-in role), within its tenant unless said otherwise. */
  async function key(
    tenantId: string,
    holds: readonly Permission[] | string,
    more: { within?: { kind: string; id: string }; scopes?: string[]; readOnly?: boolean; expiresAt?: Date } = {},
  ): Promise<string> {
    const { secret, hint } = mintCredential("dmk");
    const id = newId("key");
    let roleId = holds as string;
    if (typeof holds !== "string") {
      roleId = newId("rol");
      await owner.query(
        "insert into access.role (tenant_id, id, external_id, name, permissions, created_at, updated_at) values ($1, $2, $2, $2, $3, $4, $4)",
        [tenantId, roleId, Object.fromEntries(holds.map((name) => [name, "allow"])), clock.at],
      );
    }
    await owner.query(
      `insert into access.key (tenant_id, id, kind, title, scopes, read_only, expires_at, allowed_addresses, created_by, created_at, updated_at)
       values ($1, $2, 'standard', $3, $4, $5, $6, '{}', 'test', $7, $7)`,
      [
        tenantId,
        id,
        `k-${id.slice(-12)}`,
        more.scopes ?? ["*"],
        more.readOnly ?? false,
        more.expiresAt ?? null,
        clock.at,
      ],
    );
    await owner.query(
      "insert into access.key_secret (tenant_id, key_id, digest, hint, created_at) values ($1, $2, $3, $4, $5)",
      [tenantId, id, credentialDigest(secret), hint, clock.at],
    );
    await owner.query(
      `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
       values ($1, $2, 'key', $3, $4, $5, $6, $7, 'test')`,
      [tenantId, newId("asg"), id, roleId, more.within?.kind ?? "tenant", more.within?.id ?? tenantId, clock.at],
    );
    return secret;
  }

  return {
    url,
    databaseUrl,
    masterKeys,
    dataDir,
    app,
    kernel: app.kernel,
    rootId: app.rootId,
    clock: {
      now: () => new Date(clock.at),
      set(at: string | Date) {
        clock.at = new Date(at);
      },
      advance(ms: number) {
        clock.at = new Date(clock.at.getTime() + ms);
      },
    },
    /** As the owner of the database: sees everything, for looking behind the API. */
    sql: async (text: string, values: unknown[] = []): Promise<any[]> => (await owner.query(text, values)).rows,
    call,
    get: (path: string, ask?: Ask) => call("GET", path, ask),
    post: (path: string, body: unknown, ask?: Ask) => call("POST", path, { ...ask, body }),
    patch: (path: string, body: unknown, ask?: Ask) => call("PATCH", path, { ...ask, body }),
    delete: (path: string, ask?: Ask) => call("DELETE", path, ask),
    as,
    tenant,
    key,
    close,
  };
}

/** Waits until `check` gives something; fails after ten seconds. For what happens off a call's path. */
export async function eventually<T>(
  check: () => Promise<T | null | undefined | false> | T | null | undefined | false,
): Promise<T> {
  const until = performance.now() + 10_000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > until) throw new Error("It did not happen within ten seconds.");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
