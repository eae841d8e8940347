import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Problem, rateLimited, refuse } from "#kernel/problem";
import type { AuthorizationServer } from "../oauth/server.ts";
import { authorize, showConsent, takeConsent } from "./authorize.ts";
import { showDevice, takeDevice } from "./device.ts";
import { showLogIn, takeLogIn } from "./log-in.ts";
import { showLogOut, takeLogOut } from "./log-out.ts";
import { html, sendPage } from "./page.ts";
import { PageRefusal } from "./visitor.ts";

type Answer = (server: AuthorizationServer, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;
type Page = { name: string; show: Answer; take?: Answer };

const pages: readonly Page[] = [
  { name: "authorize", show: authorize },
  { name: "login", show: showLogIn, take: takeLogIn },
  { name: "consent", show: showConsent, take: takeConsent },
  { name: "device", show: showDevice, take: takeDevice },
  { name: "logout", show: showLogOut, take: takeLogOut },
];
const mostOctets = 65_536;

/** The pages that people see; what goes wrong at one is a page, too. */
export function mountPages(http: FastifyInstance, server: AuthorizationServer): void {
  const { kernel } = server;
  http.addHook("onRequest", async (request, reply) => {
    reply.headers({ "cache-control": "no-store", "referrer-policy": "no-referrer" });
    const wait = await kernel.throttle.chargeAddress(request.visit.address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
  });
  http.setErrorHandler((error: Error, request, reply) => sendRefusal(server, request, reply, error));
  for (const { name, show, take } of pages) {
    const url = `/oauth/${name}`;
    http.get(url, (request, reply) => show(server, request, reply));
    if (take) http.post(url, { bodyLimit: mostOctets }, (request, reply) => take(server, request, reply));
  }
}

function sendRefusal(
  { kernel }: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
  error: Error & { statusCode?: number },
): FastifyReply {
  const refusal = asPage(error);
  if (refusal.status === 500)
    kernel.log.error(
      { err: error, requestId: request.visit.requestId, route: request.routeOptions.url },
      "unexpected error",
    );
  const body = html`<p>${refusal.message}</p><p class="hint">Request <code>${request.visit.requestId}</code></p>`;
  return sendPage(reply.headers(refusal.headers), { title: refusal.title, body, status: refusal.status });
}

function asPage(error: Error & { statusCode?: number }): PageRefusal {
  if (error instanceof PageRefusal) return error;
  if (error instanceof Problem) {
    const { kind, refusal } = error;
    return new PageRefusal(kind.status, kind.title, "Nothing was done. Try again in a moment.", refusal.headers);
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new PageRefusal(error.statusCode, "This request cannot be read", "Go back and repeat the last step.");
  return new PageRefusal(500, "Something went wrong on our side", "Quote the request to whoever runs this server.");
}
