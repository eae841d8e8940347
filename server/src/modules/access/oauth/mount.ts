/** OAuth on HTTP: addresses outside the route table, with their own bodies, replies and error form (RFC 6749). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Kernel } from "#kernel/kernel";
import { notFound, Problem, rateLimited, refuse, versionUnknown } from "#kernel/problem";
import { mountPages } from "../page/mount.ts";
import { answerDeviceAuthorization } from "./device.ts";
import { OAuthError } from "./error.ts";
import { type Form, readForm } from "./form.ts";
import { answerIntrospection } from "./introspect.ts";
import { metadata, metadataPath } from "./metadata.ts";
import { answerRevocation } from "./revoke.ts";
import { type AuthorizationServer, createAuthorizationServer } from "./server.ts";
import { answerToken } from "./token-endpoint.ts";

/** The canonical place first; the others are for programs that know the API by its label or under `/api`. */
const places = ["/oauth", "/:label/oauth", "/api/oauth", "/api/:label/oauth"];
const mostOctets = 65_536;
const otherVerbs = ["GET", "PUT", "PATCH", "DELETE"];

type Endpoint = {
  name: string;
  json: boolean;
  answer(server: AuthorizationServer, request: FastifyRequest, form: Form): Promise<unknown>;
};
const endpoints: readonly Endpoint[] = [
  { name: "token", json: true, answer: answerToken },
  { name: "revoke", json: false, answer: answerRevocation },
  { name: "introspect", json: false, answer: answerIntrospection },
  { name: "device_authorization", json: false, answer: answerDeviceAuthorization },
];

export function mountOAuth(http: FastifyInstance, kernel: Kernel): void {
  const server = createAuthorizationServer(kernel);
  http.addHook("onClose", () => server.settled());
  http.removeAllContentTypeParsers();
  http.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => {
    request.visit.bytesIn = body.length;
    done(null, body);
  });
  http.setErrorHandler((error: Error, request, reply) => sendError(kernel, request, reply, error));

  for (const endpoint of endpoints) {
    for (const place of places) {
      for (const url of [`${place}/${endpoint.name}`, `${place}/${endpoint.name}/`]) {
        http.post(url, { bodyLimit: mostOctets }, async (request, reply) => {
          reply.headers({ "cache-control": "no-store", pragma: "no-cache" });
          resolveLabel(kernel, request);
          const form = readForm(request.headers["content-type"], request.body as Buffer | undefined, endpoint.json);
          const answer = await endpoint.answer(server, request, form);
          return answer === undefined ? reply.send() : sendJson(reply, answer);
        });
        http.route({ method: otherVerbs, url, handler: refuseVerb });
        http.options(url, answerPreflight);
      }
    }
  }

  void http.register(async (scope) => mountPages(scope, server));

  const jwks = async (request: FastifyRequest, reply: FastifyReply) => {
    await passOpen(kernel, request);
    return sendJson(lasting(reply), { keys: await server.signer.published() });
  };
  http.get("/oauth/jwks", jwks);
  http.get("/.well-known/jwks.json", jwks);
  const describe = async (request: FastifyRequest, reply: FastifyReply) => {
    await passOpen(kernel, request);
    const path = (request.raw.url ?? "").split("?", 1)[0]!;
    const asked =
      path === "/.well-known/oauth-authorization-server" || path === metadataPath(kernel.settings.publicUrl);
    if (!asked) throw refuse(notFound);
    return sendJson(lasting(reply), metadata(server));
  };
  http.get("/.well-known/oauth-authorization-server", describe);
  http.get("/.well-known/oauth-authorization-server/*", describe);
}

function resolveLabel(kernel: Kernel, request: FastifyRequest): void {
  const { label } = request.params as { label?: string };
  if (label === undefined) return;
  const resolved = kernel.versions.resolve(label);
  if (!resolved) throw refuse(versionUnknown);
  request.visit.label = label;
  request.visit.version = resolved.version;
}

/** Of an origin that is listed, the kernel has set the header that allows it; any other's browser refuses. */
function answerPreflight(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { origin, "access-control-request-method": asked } = request.headers;
  if (origin === undefined || asked === undefined) return refuseVerb();
  if (reply.hasHeader("access-control-allow-origin")) {
    reply.headers({
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "Authorization, Content-Type",
      "access-control-max-age": "7200",
    });
  }
  return reply.code(204).send();
}

function refuseVerb(): never {
  throw refuse(notFound, { detail: "This address knows only POST.", headers: { allow: "POST" } });
}

async function passOpen(kernel: Kernel, request: FastifyRequest): Promise<void> {
  const wait = await kernel.throttle.chargeAddress(request.visit.address);
  if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
}

function lasting(reply: FastifyReply): FastifyReply {
  return reply.header("cache-control", "public, max-age=300").header("access-control-allow-origin", "*");
}

function sendJson(reply: FastifyReply, body: unknown): FastifyReply {
  return reply.header("content-type", "application/json").send(JSON.stringify(body));
}

/** Whatever `Accept` says, and whoever refused: JSON in the form of RFC 6749. */
function sendError(kernel: Kernel, request: FastifyRequest, reply: FastifyReply, error: Error): void {
  const { visit } = request;
  const refusal = asOAuthError(error);
  if (refusal.error === "server_error") {
    kernel.log.error({ err: error, requestId: visit.requestId, route: request.routeOptions.url }, "unexpected error");
  }
  visit.code = refusal.code;
  reply.code(refusal.status).headers({ "cache-control": "no-store", pragma: "no-cache", ...refusal.headers });
  sendJson(reply, refusal.body(visit.requestId));
}

function asOAuthError(error: Error & { statusCode?: number }): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof Problem) {
    const { kind, refusal } = error;
    const busy = kind.status === 429 || kind.status === 503;
    return new OAuthError(busy ? "temporarily_unavailable" : "invalid_request", error.message, {
      code: kind.code,
      status: kind.status,
      headers: refusal.headers,
    });
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new OAuthError("invalid_request", error.message, { status: error.statusCode });
  }
  return new OAuthError("server_error", "Something went wrong on our side. Quote the request id.");
}
