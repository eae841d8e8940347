/** The page at which a person lets a device in (RFC 8628, section 3.3): log-in, code, confirmation. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { sql } from "kysely";
import { inTransaction } from "#kernel/context";
import { query } from "#kernel/db";
import { asActor, callerOf } from "../oauth/caller.ts";
import { builtInClients, namedClient } from "../oauth/client.ts";
import { giveConsent } from "../oauth/consent.ts";
import { type DeviceRow, decideDevice, findDevice, readUserCode } from "../oauth/device.ts";
import { OAuthError } from "../oauth/error.ts";
import { type AuthorizationServer, requireOpenTenant } from "../oauth/server.ts";
import type { SessionRow } from "../session/store.ts";
import { scopeList } from "./consent-form.ts";
import { type FieldFaults, formOf, hiddenFields } from "./form.ts";
import { html, sendPage } from "./page.ts";
import { logInAddress } from "./target.ts";
import { formMark, loggedIn, PageRefusal, readPageForm, type Visitor } from "./visitor.ts";

const mostWrong = 5;
const windowMs = 15 * 60_000;

type Turn = { server: AuthorizationServer; request: FastifyRequest; reply: FastifyReply };

export async function showDevice(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const turn = { server, request, reply };
  const typed = new URL(request.raw.url ?? "", "http://x").searchParams.get("user_code") ?? "";
  const visitor = await loggedIn(server, request);
  if (!visitor) return reply.redirect(logInAddress(server, deviceAddress(typed)), 303);
  requireUnlocked(server, visitor);
  return showEntry(turn, typed, {}, 200);
}

export async function takeDevice(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const turn = { server, request, reply };
  const form = readPageForm(server, request);
  const typed = form.get("user_code") ?? "";
  const visitor = await loggedIn(server, request);
  if (!visitor) return reply.redirect(logInAddress(server, deviceAddress(typed)), 303);
  const now = server.kernel.now();
  await enterTry(server, visitor, now);
  const code = readUserCode(typed);
  const device = code === null ? undefined : await findDevice(server.kernel.system, code, now);
  if (code === null || !device)
    return showEntry(turn, typed, { user_code: ["No device waits with this code. Look at the device again."] }, 400);
  await forgiveTry(server, visitor, now);
  // A log-in from before says nothing about who sits here now.
  if (visitor.session.auth_time < device.created_at)
    return reply.redirect(logInAddress(server, deviceAddress(typed), true), 303);
  const decision = form.get("decision");
  if (decision !== "allow" && decision !== "deny") return showConfirmation(turn, visitor, typed, device);
  return decide(turn, visitor, code, device, decision === "allow");
}

async function decide(
  { server, request, reply }: Turn,
  { session, tenant, user }: Visitor,
  code: string,
  device: DeviceRow,
  allowed: boolean,
): Promise<FastifyReply> {
  const { kernel } = server;
  const client = await namedClient(kernel.system, device.client_id, kernel.now());
  if (!client) throw new PageRefusal(403, "The device cannot be let in", "Its program is not known here any more.");
  try {
    requireOpenTenant(tenant, client.id);
  } catch (error) {
    if (!(error instanceof OAuthError)) throw error;
    throw new PageRefusal(403, "The device cannot be let in", error.message);
  }
  const by = { tenantId: tenant.id, userId: user.id, sessionId: session.id, authTime: session.auth_time };
  if (!(await decideDevice(kernel.system, code, kernel.now(), allowed ? "approved" : "denied", by)))
    throw new PageRefusal(
      409,
      "This device no longer waits",
      "Its code has expired, or somebody has decided on it. Begin again at the device.",
    );
  if (!allowed)
    return sendPage(reply, {
      title: "Refused",
      body: html`<p>The device was not let in. You can close this page.</p>`,
    });
  const who = asActor(tenant, user, client.id, session.id);
  await inTransaction(kernel, callerOf(kernel, request, who), (ctx) =>
    giveConsent(ctx, { client, scopes: device.scopes }),
  );
  return sendPage(reply, {
    title: "The device is in",
    body: html`<p>It acts for you from now on. You can close this page.</p>`,
  });
}

function showEntry({ server, request, reply }: Turn, typed: string, faults: FieldFaults, status: number): FastifyReply {
  const code = {
    name: "user_code",
    label: "Code that the device shows",
    autocomplete: "off",
    hint: "Eight letters, such as WDJB-MJHT.",
    value: typed,
  };
  const body = formOf("device", [code], "Go on", { hidden: formMark(server, request, reply), faults });
  return sendPage(reply, { title: "Let a device in", body, status });
}

function showConfirmation(
  { server, request, reply }: Turn,
  { user, tenant }: Visitor,
  typed: string,
  device: DeviceRow,
): FastifyReply {
  const name = builtInClients.get(device.client_id)?.name ?? device.client_id;
  const body = html`<p><strong>${name}</strong> wants to act for you, <strong>${user.name} (${tenant.name})</strong>. It may then:</p>
${scopeList(device.scopes)}
<p>It asked from the address <code>${device.address}</code>${device.user_agent && html` with the program <code>${device.user_agent}</code>`}.
Allow it only if you started it yourself, just now. Nobody who calls or writes to you needs this.</p>
<form method="post" action="device">${hiddenFields({ ...formMark(server, request, reply), user_code: typed })}
<button name="decision" value="allow">Allow</button><button class="quiet" name="decision" value="deny">Refuse</button></form>`;
  return sendPage(reply, { title: "Let this device in?", body });
}

function deviceAddress(typed: string): string {
  const code = typed.replaceAll(/[^A-Za-z0-9-]/g, "").slice(0, 32);
  return code === "" ? "/oauth/device" : `/oauth/device?user_code=${code}`;
}

/** Wrong codes lock the session out of the page, not the person: it may be somebody else's browser. */
function requireUnlocked(
  { kernel }: AuthorizationServer,
  { session }: { session: Pick<SessionRow, "wrong_codes"> },
): void {
  const since = kernel.now().getTime() - windowMs;
  const recent = session.wrong_codes.filter((at) => at.getTime() > since);
  if (recent.length < mostWrong) return;
  const seconds = Math.max(1, Math.ceil((recent[recent.length - mostWrong]!.getTime() - since) / 1_000));
  throw new PageRefusal(429, "Too many wrong codes", `Wait ${seconds} seconds, then try again.`, {
    "retry-after": String(seconds),
  });
}

/** A code counts as wrong until it has proved right: many sent at once are no more tries than one after another. */
async function enterTry(server: AuthorizationServer, visitor: Visitor, at: Date): Promise<void> {
  const { id } = visitor.session;
  const db = server.kernel.system.in("");
  const entered = await db.run(
    query(sql`update access.session
      set wrong_codes = (wrong_codes || ${at}::timestamptz)[greatest(1, cardinality(wrong_codes) + 2 - ${mostWrong}::int):]
      where id = ${id}
        and (select count(*) from unnest(wrong_codes) one where one > ${new Date(at.getTime() - windowMs)}) < ${mostWrong}`),
  );
  if (entered > 0) return;
  const now = await db.first(query<SessionRow>(sql`select wrong_codes from access.session where id = ${id}`));
  requireUnlocked(server, { session: now ?? visitor.session });
}

/** Takes one try of an instant back. */
async function forgiveTry({ kernel }: AuthorizationServer, { session }: Visitor, at: Date): Promise<void> {
  await kernel.system.in("").run(
    query(sql`update access.session
      set wrong_codes = wrong_codes[:array_position(wrong_codes, ${at}::timestamptz) - 1]
        || wrong_codes[array_position(wrong_codes, ${at}::timestamptz) + 1:]
      where id = ${session.id} and ${at}::timestamptz = any(wrong_codes)`),
  );
}
