import type { FastifyReply, FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import { callerOf } from "../oauth/caller.ts";
import type { AuthorizationServer } from "../oauth/server.ts";
import { clearCookie } from "../session/cookie.ts";
import { endSessionWithGrants } from "../session/operations.ts";
import { formOf } from "./form.ts";
import { html, sendPage } from "./page.ts";
import { formMark, loggedIn, readPageForm } from "./visitor.ts";

/** Asks first: a link on another site must not log anybody out. */
export async function showLogOut(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const visitor = await loggedIn(server, request);
  if (!visitor) return sendLoggedOut(reply);
  const body = html`<p>You are logged in as <strong>${visitor.user.name}</strong> of ${visitor.tenant.name}.</p>
${formOf("logout", [], "Log out", { hidden: formMark(server, request, reply) })}`;
  return sendPage(reply, { title: "Log out?", body });
}

export async function takeLogOut(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  readPageForm(server, request);
  const visitor = await loggedIn(server, request);
  if (visitor) {
    await inTransaction(server.kernel, callerOf(server.kernel, request, request.visit.who!), (ctx) =>
      endSessionWithGrants(ctx, visitor.session.id, "logged_out"),
    );
  }
  clearCookie(server.kernel.settings, reply);
  return sendLoggedOut(reply);
}

function sendLoggedOut(reply: FastifyReply): FastifyReply {
  const body = html`<p>Nobody is logged in here. Programs that you let in go on until you end them.</p>
<p><a href="login">Log in</a></p>`;
  return sendPage(reply, { title: "Logged out", body });
}
