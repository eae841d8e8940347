/** Device codes (RFC 8628): a program without a browser is let in by a person at another one. */
import { randomBytes, randomInt } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { sql } from "kysely";
import { credentialDigest } from "#kernel/credential";
import { type Database, type Db, query } from "#kernel/db";
import { deviceGrant } from "./client.ts";
import { comeAgain, OAuthError } from "./error.ts";
import type { Form } from "./form.ts";
import { readScope } from "./scope.ts";
import { type AuthorizationServer, clientOf } from "./server.ts";

const lifetimeSeconds = 600;
const intervalSeconds = 5;
/** Without vowels no words, and without digits nothing to mistake (RFC 8628, section 6.1). */
const letters = "BCDFGHJKLMNPQRSTVWXZ";
/** Of one address: a request writes a row, and nobody has proved anything yet. */
const rate = { ratePerSecond: 1, burst: 20 };

export type DeviceRow = {
  client_id: string;
  scopes: string[];
  address: string;
  user_agent: string | null;
  created_at: Date;
  expires_at: Date;
  state: "pending" | "approved" | "denied";
  tenant_id: string | null;
  user_id: string | null;
  session_id: string | null;
  auth_time: Date | null;
};

/** The device authorization endpoint. */
export async function answerDeviceAuthorization(
  server: AuthorizationServer,
  request: FastifyRequest,
  form: Form,
): Promise<Record<string, unknown>> {
  const { kernel } = server;
  const { address } = request.visit;
  const client = await clientOf(server, request, form);
  if (!client.grants.includes(deviceGrant))
    throw new OAuthError("unauthorized_client", "This client is not registered for device codes.");
  const scopes = readScope(form.get("scope"), client.scopes);
  const wait = await kernel.throttle.chargeApart(`device ${address}`, rate);
  if (wait !== null) throw comeAgain("rate_limited", "Too Many Requests", wait);
  const deviceCode = `dmd_${randomBytes(32).toString("base64url")}`;
  const userCode = Array.from({ length: 8 }, () => letters[randomInt(letters.length)]).join("");
  const at = kernel.now();
  await kernel.system.in("").run(
    query(sql`insert into access.device_code
        (digest, user_code_digest, client_id, scopes, address, user_agent, interval_seconds, created_at, expires_at)
      values (${credentialDigest(deviceCode)}, ${credentialDigest(userCode)}, ${client.id}, ${[...scopes]}, ${address},
        ${request.headers["user-agent"]?.slice(0, 200) ?? null}, ${intervalSeconds}, ${at},
        ${new Date(at.getTime() + lifetimeSeconds * 1_000)})`),
  );
  const shown = `${userCode.slice(0, 4)}-${userCode.slice(4)}`;
  const page = `${kernel.settings.publicUrl}/oauth/device`;
  return {
    device_code: deviceCode,
    user_code: shown,
    verification_uri: page,
    verification_uri_complete: `${page}?user_code=${shown}`,
    expires_in: lifetimeSeconds,
    interval: intervalSeconds,
  };
}

/** A typed code in its stored form: case, hyphens and blanks do not matter. Null: it can be none. */
export function readUserCode(typed: string): string | null {
  const code = typed.toUpperCase().replaceAll(/[\s-]/g, "");
  return code.length === 8 && [...code].every((letter) => letters.includes(letter)) ? code : null;
}

/** The request that waits behind a user code. */
export function findDevice(system: Database, userCode: string, at: Date): Promise<DeviceRow | undefined> {
  return system.in("").first(
    query<DeviceRow>(
      sql`select * from access.device_code
          where user_code_digest = ${credentialDigest(userCode)} and state = 'pending' and expires_at > ${at}`,
    ),
  );
}

type Decision = { tenantId: string; userId: string; sessionId: string; authTime: Date };

/** Decides on a waiting request, once; false: it is no longer waiting. */
export async function decideDevice(
  system: Database,
  userCode: string,
  at: Date,
  state: "approved" | "denied",
  by: Decision,
): Promise<boolean> {
  const decided = await system.in("").run(
    query(sql`update access.device_code set state = ${state}, tenant_id = ${by.tenantId}, user_id = ${by.userId},
        session_id = ${by.sessionId}, auth_time = ${by.authTime}
      where user_code_digest = ${credentialDigest(userCode)} and state = 'pending' and expires_at > ${at}`),
  );
  return decided > 0;
}

/** What a poll found: `hasty` if it came sooner than it may, which makes all later ones wait 5 s more. */
export type Poll = DeviceRow & { hasty: boolean; sessionLives: boolean };

/** Notes a poll and tells what it finds, in one statement. */
export function pollDevice(system: Database, deviceCode: string, at: Date): Promise<Poll | undefined> {
  return system.in("").first(
    query<Poll>(sql`with seen as (
        select *, coalesce(polled_at + make_interval(secs => interval_seconds) > ${at}::timestamptz, false) as hasty
        from access.device_code where digest = ${credentialDigest(deviceCode)} for update),
      polled as (update access.device_code d set polled_at = ${at},
          interval_seconds = d.interval_seconds + case when seen.hasty then ${intervalSeconds}::int else 0 end
        from seen where d.digest = seen.digest)
      select seen.*, exists (select from access.session s where s.id = seen.session_id and s.ended_at is null) as "sessionLives"
      from seen`),
  );
}

/** Uses an approved code up: it is gone, so that one poll wins. */
export async function consumeDevice(db: Db, deviceCode: string): Promise<boolean> {
  const consumed = await db.run(
    query(sql`delete from access.device_code where digest = ${credentialDigest(deviceCode)} and state = 'approved'`),
  );
  return consumed > 0;
}
