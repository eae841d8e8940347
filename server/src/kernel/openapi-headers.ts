/** The headers of replies, as the OpenAPI documents state them: each once among the components. */
import type { Route } from "./contract.ts";
import { isWrite } from "./door.ts";

type Json = Record<string, unknown>;

const descriptions = {
  "X-Request-Id": "Names this call in logs and support.",
  "Correlation-Id": "The caller's own, repeated.",
  "API-Version": "The version that answered, whatever label was called.",
  Deprecation: "Since when this is deprecated: `@` and unix seconds (RFC 9745).",
  Sunset: "From when it is served no more (RFC 8594).",
  Link: "What is said of the deprecation and the sunset, and what takes its place.",
  "RateLimit-Policy": "The limits of the tenant's plan (draft-ietf-httpapi-ratelimit-headers-11).",
  RateLimit: "What is left of them.",
  "Retry-After": "Whole seconds to wait before asking again.",
  "WWW-Authenticate": "Which credential is needed (RFC 6750).",
  "Demarc-Warning": "Up to 20 findings; the call succeeded all the same.",
  "Demarc-Outcome":
    "What was done: `created`, `updated`, `unchanged`, `deleted`, `absent`; on upserts and deletes that may be repeated.",
  "Idempotency-Replayed": "`true`: the reply of the first call with this `Idempotency-Key`.",
  "Preference-Applied": "Which preference was heeded (RFC 7240).",
  "Content-Disposition": "A name for the file.",
  "X-Accel-Buffering": "Tells proxies to pass on each event at once.",
  Location: "Address of the resource.",
  ETag: "Names this state of the resource.",
} as const;
type Name = keyof typeof descriptions;

export type HeaderUse = {
  route: Route;
  status: number;
  /** Of a success. */
  mediaType?: string;
  isLocated?: boolean;
  isTagged?: boolean;
  /** Whether the version or the route is deprecated. */
  isDeprecated: boolean;
  /** An open route that is not open to all here. */
  isClosed?: boolean;
};

/** Which headers a reply may have. Those that HTTP itself adds to any reply (Date, Vary, Content-Length …) are not stated. */
function namesOf({ route, status, mediaType, isDeprecated, isClosed }: HeaderUse): Name[] {
  const isSuccess = status < 300;
  const isOpen = route.permission === "open";
  const heedsPrefer = route.async || route.heeds?.includes("Prefer");
  const names: [boolean | undefined, ...Name[]][] = [
    [true, "X-Request-Id", "Correlation-Id", "API-Version"],
    [isDeprecated, "Deprecation", "Sunset", "Link"],
    [!isOpen && status !== 401, "RateLimit-Policy", "RateLimit"],
    [[202, 409, 429, 503].includes(status) || (isSuccess && heedsPrefer), "Retry-After"],
    [(!isOpen || isClosed) && (status === 401 || status === 403), "WWW-Authenticate"],
    [isSuccess && !isOpen, "Demarc-Warning"],
    [isSuccess && isWrite(route), "Demarc-Outcome"],
    [isSuccess && isWrite(route) && !isOpen, "Idempotency-Replayed"],
    [heedsPrefer, "Preference-Applied"],
    // Of work that was waited for nothing but its result is known.
    [isSuccess && route.async && status !== 202, "Location", "ETag"],
    [mediaType === "text/csv" || mediaType === "application/x-ndjson", "Content-Disposition"],
    [mediaType === "text/event-stream", "X-Accel-Buffering"],
  ];
  return names.flatMap(([applies, ...list]) => (applies ? list : []));
}

/** Gathers the headers of a document: `of` gives those of a reply, `all` the components that they refer to. */
export function createHeaders() {
  const used = new Set<Name>();
  const text = { type: "string" };
  return {
    of(use: HeaderUse): Json {
      const headers: Json = {};
      for (const name of namesOf(use)) {
        used.add(name);
        headers[name] = { $ref: `#/components/headers/${name}` };
      }
      const always = (name: Name) => ({ description: descriptions[name], required: true, schema: text });
      if (use.isLocated) headers.Location = always("Location");
      if (use.isTagged) headers.ETag = always("ETag");
      return headers;
    },
    all(): Json {
      return Object.fromEntries(
        [...used].sort().map((name) => [name, { description: descriptions[name], schema: text }]),
      );
    },
  };
}
