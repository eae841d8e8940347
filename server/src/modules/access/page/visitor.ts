/** Who stands before the log-in pages: nobody known, somebody in the middle of a log-in, or a person with a session. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Kernel } from "#kernel/kernel";
import type { Actor, TenantCard } from "#kernel/principal";
import { asActor } from "../oauth/caller.ts";
import { OAuthError } from "../oauth/error.ts";
import { type Form, readForm } from "../oauth/form.ts";
import type { AuthorizationServer } from "../oauth/server.ts";
import { formToken, isFormToken, newCookieValue, readCookie, setCookie } from "../session/cookie.ts";
import { findSession, type SessionFound } from "../session/store.ts";

/** A person whose log-in counts now, finished (`session.stage` is `full`) or not. */
export type Visitor = { session: SessionFound; tenant: TenantCard; user: Actor };

/** What a person sees in place of the page that was asked for. */
export class PageRefusal extends Error {
  readonly status: number;
  readonly title: string;
  readonly headers: Record<string, string>;
  constructor(status: number, title: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.title = title;
    this.headers = headers;
  }
}

/** The log-in of a browser; null where there is none, or its user may not act (any more). */
export async function visitorOf(
  { kernel }: Pick<AuthorizationServer, "kernel">,
  request: FastifyRequest,
): Promise<Visitor | null> {
  const cookie = readCookie(kernel.settings, request);
  const session = cookie === null ? null : await findSession(kernel.system, cookie, kernel.now());
  if (!session) return null;
  const principal = await kernel.gate.principalOf({ kind: "user", id: session.user_id }, session.tenant_id);
  if (!principal) return null;
  request.visit.ownerTenantId = session.tenant_id;
  request.visit.who = asActor(principal.tenant, principal.actor, null, session.id);
  return { session, tenant: principal.tenant, user: principal.actor };
}

/** The same, where the log-in is complete. */
export async function loggedIn(
  server: Pick<AuthorizationServer, "kernel">,
  request: FastifyRequest,
): Promise<Visitor | null> {
  const visitor = await visitorOf(server, request);
  return visitor?.session.stage === "full" ? visitor : null;
}

/** Whether a browser has a whole log-in, for what asks for no more than one. */
export async function hasLogIn(kernel: Kernel, request: FastifyRequest): Promise<boolean> {
  return (await loggedIn({ kernel }, request)) !== null;
}

/** What every form carries hidden; a stranger's browser gets the cookie that it belongs to. */
export function formMark(
  { kernel }: Pick<AuthorizationServer, "kernel">,
  request: FastifyRequest,
  reply: FastifyReply,
): { form_token: string } {
  const known = readCookie(kernel.settings, request);
  const cookie = known ?? newCookieValue();
  if (known === null) setCookie(kernel.settings, reply, cookie);
  return { form_token: formToken(cookie) };
}

/** What a form of ours sent. Refused: a form that was not made for this browser, or for its session of before. */
export function readPageForm({ kernel }: Pick<AuthorizationServer, "kernel">, request: FastifyRequest): Form {
  let form: Form;
  try {
    form = readForm(request.headers["content-type"], request.body as Buffer | undefined, false);
  } catch (error) {
    if (!(error instanceof OAuthError)) throw error;
    throw new PageRefusal(400, "This form cannot be read", error.message);
  }
  if (!isFormToken(readCookie(kernel.settings, request), form.get("form_token")))
    throw new PageRefusal(
      403,
      "This form is no longer good",
      "Cookies are off, or the form has been open for too long. Go back, load the page again and repeat the last step.",
    );
  return form;
}
