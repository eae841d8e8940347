import type { FastifyInstance } from "fastify";

const exposed =
  "Location, ETag, Retry-After, Deprecation, Sunset, Link, Preference-Applied, API-Version, X-Request-Id, Correlation-Id, Demarc-Warning, Demarc-Outcome, Idempotency-Replayed, RateLimit, RateLimit-Policy";
const allowed =
  "Authorization, Content-Type, x-api-key, Idempotency-Key, If-Match, If-None-Match, Prefer, Correlation-Id, Demarc-Tenant";

/**
 * Lets pages of the named origins call the API (notifications, part F). A preflight is answered before any credential
 * (conventions, section 2); an origin that is not named gets no CORS header, so its browser refuses.
 */
export function mountCors(http: FastifyInstance, origins: readonly string[], knows: (path: string) => boolean): void {
  http.addHook("onRequest", (request, reply, done) => {
    const { origin } = request.headers;
    const known = origin !== undefined && origins.includes(origin);
    if (known)
      reply.headers({
        "access-control-allow-origin": origin,
        vary: "Origin",
        "access-control-expose-headers": exposed,
      });
    if (request.method !== "OPTIONS" || origin === undefined || !request.headers["access-control-request-method"])
      return done();
    if (!knows((request.raw.url ?? "").split("?", 1)[0]!)) return done();
    if (known) {
      reply.headers({
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": allowed,
        "access-control-max-age": "7200",
      });
    }
    reply.code(204).send();
  });
}
