/** The authorize address (RFC 6749, section 4.1): who asks, who is there, what was allowed before; then a code. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import {
  type AuthorizeRequest,
  answerLocation,
  readAuthorizeRequest,
  refusalLocation,
} from "../oauth/authorize-request.ts";
import { asActor, callerOf } from "../oauth/caller.ts";
import { makeCode } from "../oauth/code.ts";
import { giveConsent, isConsented } from "../oauth/consent.ts";
import { OAuthError } from "../oauth/error.ts";
import { type AuthorizationServer, requireOpenTenant } from "../oauth/server.ts";
import { consentForm } from "./consent-form.ts";
import { sendPage } from "./page.ts";
import { logInAddress } from "./target.ts";
import { formMark, loggedIn, PageRefusal, readPageForm, type Visitor } from "./visitor.ts";

type Turn = { server: AuthorizationServer; request: FastifyRequest; reply: FastifyReply; search: string };

/** What comes next: an answer to the application, or a page for the person. */
type Next =
  | { kind: "answer"; location: string }
  | { kind: "log_in"; again: boolean }
  | { kind: "consent" | "code"; asked: AuthorizeRequest; visitor: Visitor };

export async function authorize(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const turn = { server, request, reply, search: searchOf(request) };
  const next = await weigh(turn);
  if (next.kind === "answer") return reply.redirect(next.location, 303);
  if (next.kind === "log_in")
    return reply.redirect(logInAddress(server, `/oauth/authorize?${turn.search}`, next.again), 303);
  if (next.kind === "consent")
    return reply.redirect(`${server.kernel.settings.publicUrl}/oauth/consent?${turn.search}`, 303);
  return sendCode(turn, next.asked, next.visitor);
}

export async function showConsent(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const search = searchOf(request);
  const next = await weigh({ server, request, reply, search });
  if (next.kind !== "consent")
    return reply.redirect(`${server.kernel.settings.publicUrl}/oauth/authorize?${search}`, 303);
  const { asked, visitor } = next;
  const body = consentForm({
    hidden: { ...formMark(server, request, reply), request: search },
    client: asked.client,
    scopes: asked.scopes,
    person: `${visitor.user.name} (${visitor.tenant.name})`,
    otherPerson: logInAddress(server, `/oauth/authorize?${search}`, true),
    goesTo: new URL(asked.redirectUri).host,
  });
  return sendPage(reply, {
    title: `Let ${asked.client.name} in?`,
    body,
    formTargets: [new URL(asked.redirectUri).origin],
  });
}

export async function takeConsent(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const form = readPageForm(server, request);
  const search = form.get("request") ?? "";
  const turn = { server, request, reply, search };
  const next = await weigh(turn);
  if (next.kind !== "consent")
    return reply.redirect(`${server.kernel.settings.publicUrl}/oauth/authorize?${search}`, 303);
  const { asked, visitor } = next;
  if (form.get("decision") !== "allow") {
    const location = refusalLocation(server, asked, "access_denied", "The person refused.");
    return reply.redirect(location, 303);
  }
  const who = asActor(visitor.tenant, visitor.user, asked.client.id, visitor.session.id);
  await inTransaction(server.kernel, callerOf(server.kernel, request, who), (ctx) => giveConsent(ctx, asked));
  return sendCode(turn, asked, visitor);
}

function searchOf(request: FastifyRequest): string {
  const url = request.raw.url ?? "";
  const mark = url.indexOf("?");
  return mark < 0 ? "" : url.slice(mark + 1);
}

async function weigh({ server, request, search }: Turn): Promise<Next> {
  const { kernel } = server;
  const reading = await readAuthorizeRequest(server, search);
  if (reading.kind === "unanswerable") throw new PageRefusal(400, "This request cannot be answered", reading.message);
  if (reading.kind === "refused") return { kind: "answer", location: reading.location };
  const asked = reading.request;
  const { client, prompts, maxAgeSeconds } = asked;
  const refused = (error: string, description: string): Next => ({
    kind: "answer",
    location: refusalLocation(server, asked, error, description),
  });
  const visitor = await loggedIn(server, request);
  const ageMs = visitor ? kernel.now().getTime() - visitor.session.auth_time.getTime() : 0;
  const stale = visitor !== null && maxAgeSeconds !== null && ageMs >= maxAgeSeconds * 1_000;
  if (!visitor || stale || prompts.has("login")) {
    if (prompts.has("none")) return refused("login_required", "The person has to log in.");
    return { kind: "log_in", again: visitor !== null };
  }
  try {
    await requireServed(server, visitor, asked);
  } catch (error) {
    if (!(error instanceof OAuthError)) throw error;
    return refused(error.error, error.message);
  }
  const consented = !prompts.has("consent") && (await isConsented(kernel.system, visitor.user.id, asked));
  if (consented) return { kind: "code", asked, visitor };
  if (prompts.has("none")) return refused("consent_required", `The person has not let ${client.name} in yet.`);
  return { kind: "consent", asked, visitor };
}

/** An application is for people of its own tenant and those below; both tenants must take part. */
async function requireServed(
  { kernel }: AuthorizationServer,
  { tenant }: Visitor,
  { client }: AuthorizeRequest,
): Promise<void> {
  if (client.tenantId !== null) {
    if (!tenant.lineage.includes(client.tenantId))
      throw new OAuthError("access_denied", "This person's organisation is not served by the application.");
    requireOpenTenant(await kernel.gate.tenant(client.tenantId), client.id);
  }
  requireOpenTenant(tenant, client.id);
}

async function sendCode(
  { server, request, reply }: Turn,
  asked: AuthorizeRequest,
  { session, tenant, user }: Visitor,
): Promise<FastifyReply> {
  const { kernel } = server;
  request.visit.who = asActor(tenant, user, asked.client.id, session.id);
  const code = await makeCode(kernel.db.in(tenant.id), kernel.now(), {
    tenantId: tenant.id,
    clientId: asked.client.id,
    userId: user.id,
    sessionId: session.id,
    redirectUri: asked.redirectUri,
    codeChallenge: asked.codeChallenge,
    scopes: asked.scopes,
    authTime: session.auth_time,
  });
  return reply.redirect(answerLocation(server, asked, { code }), 303);
}
