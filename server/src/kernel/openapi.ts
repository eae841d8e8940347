/**
 * OpenAPI 3.1 documents made from the route table (notifications, part F): one per service and version label. What a
 * route declares is all there is, so a document cannot say anything that the server does not do.
 */
import type { TSchema } from "typebox";
import type { Route } from "./contract.ts";
import type { Json } from "./document-components.ts";
import { Components } from "./document-components.ts";
import { isWrite } from "./door.ts";
import type { EventKind } from "./events.ts";
import { routeTable } from "./http.ts";
import type { Kernel } from "./kernel.ts";
import { createHeaders } from "./openapi-headers.ts";
import { isClosed, refusals } from "./openapi-refusals.ts";
import { webhooksOf } from "./openapi-webhooks.ts";
import { scopesOffered } from "./permissions.ts";
import { unauthenticated } from "./problem.ts";
import { exampleOf } from "./schema-example.ts";

export type Source = Pick<Kernel, "modules" | "versions"> & {
  settings: Pick<Kernel["settings"], "release" | "passwordGrant" | "docsAccess">;
};

/** What the parts of one document are made with. */
export type Parts = {
  source: Source;
  version: string;
  components: Components;
  headers: ReturnType<typeof createHeaders>;
  isDeprecated: boolean;
};

/** The document of a service under a label, or undefined where the service has no route in that version. */
export function openapiDocument(source: Source, service: string, label: string): Json | undefined {
  const resolved = source.versions.resolve(label);
  const module = source.modules.find(({ name }) => name === service);
  if (!resolved || !module) return undefined;
  const version = resolved.version.label;
  const routes = routeTable(source)
    .filter((entry) => entry.service === service)
    .map(({ route }) => route)
    .filter((route) => source.versions.covers(route.versions, version) && (!route.preview || resolved.preview));
  if (routes.length === 0) return undefined;
  const parts: Parts = {
    source,
    version,
    components: new Components(),
    headers: createHeaders(),
    isDeprecated: resolved.version.deprecatedAt !== undefined,
  };
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = `/${label}${route.path}`;
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(parts, route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: `Demarc ${service}`,
      version: label,
      summary: module.about,
      description: `${module.about}\n\nRelease ${source.settings.release}. Errors, limits, versions and repeatable calls work alike in all services; see the pages below /docs.`,
      license: { name: "Apache 2.0", identifier: "Apache-2.0" },
      contact: { name: "Demarc" },
      ...(resolved.version.deprecatedAt
        ? { "x-deprecated-at": resolved.version.deprecatedAt, "x-sunset-at": resolved.version.sunsetAt ?? null }
        : {}),
    },
    servers: [{ url: "/", description: "This server" }],
    tags: [...new Set(routes.map(tagOf))].sort().map((name) => ({ name, description: `Operations on ${name}.` })),
    security: [{ xApiKey: [] }, { oauth2: [] }, { bearer: [] }, { authorizationHeader: [] }],
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(service === "notifications" ? { webhooks: webhooksOf(parts) } : {}),
    components: {
      schemas: parts.components.all(),
      headers: parts.headers.all(),
      securitySchemes: securitySchemes(source.settings.passwordGrant),
    },
  };
}

function securitySchemes(passwordGrant: boolean): Json {
  const scopes = Object.fromEntries(
    scopesOffered().map((name) => [name, name === "*" ? "Everything the client may do" : name]),
  );
  const tokenUrl = "/oauth/token";
  return {
    xApiKey: { type: "apiKey", in: "header", name: "x-api-key", description: "An API key." },
    oauth2: {
      type: "oauth2",
      description: "Fetches an access token here.",
      flows: {
        clientCredentials: { tokenUrl, scopes },
        authorizationCode: { authorizationUrl: "/oauth/authorize", tokenUrl, refreshUrl: tokenUrl, scopes },
        ...(passwordGrant ? { password: { tokenUrl, scopes } } : {}),
      },
    },
    bearer: { type: "http", scheme: "bearer", description: "An access token or an API key, without the word Bearer." },
    authorizationHeader: {
      type: "apiKey",
      in: "header",
      name: "Authorization",
      description: "The whole header: type `Bearer <token>`.",
    },
  };
}

const tagOf = (route: Route) => route.path.split("/")[1]!;

function operation(parts: Parts, route: Route): Json {
  const { source, version, components } = parts;
  const write = isWrite(route);
  const emits = "emits" in route ? route.emits : undefined;
  const events = Array.isArray(emits) ? (emits as EventKind[]).map(({ type }) => type) : [];
  const open = route.permission === "open" && !isClosed(source, route);
  const body = route.body && source.versions.bodySchema(route, route.body as TSchema, version);
  return {
    operationId: route.id,
    summary: route.summary,
    description: describe(route, events),
    tags: [tagOf(route)],
    ...(route.deprecated ? { deprecated: true } : {}),
    ...(route.preview ? { "x-preview": true } : {}),
    "x-permission": route.permission,
    "x-emits": events,
    ...(open ? { security: [] } : {}),
    parameters: [...pathParameters(route), ...queryParameters(parts, route), ...headerParameters(route, write)],
    ...(body
      ? {
          requestBody: {
            required: !route.bodyOptional,
            content: { "application/json": { schema: components.put(body), example: exampleOf(body, false) } },
          },
        }
      : {}),
    responses: { ...successes(parts, route), ...refusals(parts, route) },
  };
}

function describe(route: Route, events: string[]): string {
  const needs =
    route.permission === "open"
      ? route.problems?.includes(unauthenticated)
        ? "Needs no credential, but one that is sent has to be good."
        : "Needs no credential."
      : route.permission === "any"
        ? "Needs a valid credential and no permission."
        : `Needs the permission \`${route.permission}\`.`;
  const tells = events.length > 0 ? ` Emits ${events.map((type) => `\`${type}\``).join(", ")}.` : "";
  return `${route.description ? `${route.description}\n\n` : ""}${needs}${tells}`;
}

function pathParameters(route: Route): Json[] {
  return [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    description: name === "id" ? "The id of the resource." : `The ${name}.`,
    schema: { type: "string", minLength: 1, maxLength: 512 },
  }));
}

function queryParameters({ source, version, components }: Parts, route: Route): Json[] {
  const schema = source.versions.querySchema(route, version) as
    | { properties?: Record<string, TSchema>; required?: string[] }
    | undefined;
  return Object.entries(schema?.properties ?? {}).map(([name, node]) => {
    const { description, ...rest } = node as TSchema & {
      description?: string;
      items?: TSchema & { description?: string };
    };
    const list = (rest as { type?: string }).type === "array";
    const words = description ?? (rest as { items?: { description?: string } }).items?.description;
    return {
      name,
      in: "query",
      required: schema?.required?.includes(name) ?? false,
      description: words ?? (list ? `Filter by ${name}; a comma means any of.` : `Filter by ${name}.`),
      ...(list ? { style: "form", explode: "x-repeat" in rest } : {}),
      schema: components.put(rest as TSchema),
    };
  });
}

function headerParameters(route: Route, write: boolean): Json[] {
  const text = { type: "string", minLength: 1, maxLength: 255 };
  const parameters: Json[] = [];
  if (route.permission !== "open") {
    parameters.push({
      name: "Demarc-Tenant",
      in: "header",
      description: "Id or code of the tenant to act in: one's own or one below.",
      schema: text,
    });
  }
  if (write && route.permission !== "open") {
    parameters.push({
      name: "Idempotency-Key",
      in: "header",
      description: "Makes the call safe to repeat for 72 hours.",
      schema: text,
    });
  }
  if (["PATCH", "PUT", "DELETE"].includes(route.method)) {
    parameters.push({
      name: "If-Match",
      in: "header",
      description: "The ETag that was read; 412 if the resource has changed since.",
      schema: text,
    });
  }
  if (route.method === "GET" && isTagged(replyOf(route, 200))) {
    parameters.push({
      name: "If-None-Match",
      in: "header",
      description: "An ETag; 304 if the resource still has it.",
      schema: text,
    });
  }
  if (route.heeds?.includes("Last-Event-ID"))
    parameters.push({
      name: "Last-Event-ID",
      in: "header",
      description: "The `id` of the last event that was received: the stream goes on after it.",
      schema: text,
    });
  if (route.async || route.heeds?.includes("Prefer"))
    parameters.push({
      name: "Prefer",
      in: "header",
      description: route.async
        ? "`wait=N` (1 to 30 s) or `respond-async` (RFC 7240)."
        : "`wait=N` (1 to 30 s; RFC 7240).",
      schema: text,
    });
  return parameters;
}

function successes({ source, version, components, headers, isDeprecated }: Parts, route: Route): Json {
  const replies: Json = {};
  const about = { route, isDeprecated: isDeprecated || route.deprecated !== undefined };
  for (const [status, schema] of Object.entries(route.replies as Record<string, TSchema | null>)) {
    const shown =
      schema &&
      trimmable(route, source.versions.replySchema(schema, version, { id: route.id, status: Number(status) }));
    const isOne = isTagged(schema) && !(route.async && status !== "202");
    const type = shown && mediaType(shown);
    replies[status] = {
      description: statusWords[status] ?? "Success.",
      headers: headers.of({
        ...about,
        status: Number(status),
        mediaType: type ?? undefined,
        isLocated: isOne && isLocated(source, route, status),
        isTagged: isOne,
      }),
      ...(shown ? { content: { [type!]: { schema: components.put(shown), ...exampleIn(shown) } } } : {}),
    };
  }
  if (route.method === "GET" && isTagged(replyOf(route, 200)))
    replies["304"] = {
      description: "Not changed since the ETag given.",
      headers: headers.of({ ...about, status: 304, isTagged: true }),
    };
  if (isClosed(source, route))
    replies["303"] = {
      description: "A browser in which nobody has logged in is sent to the log-in page.",
      headers: headers.of({ ...about, status: 303, isLocated: true }),
    };
  return replies;
}

/** An example of JSON; what has another form, or is a document of its own, has none. */
const exampleIn = (schema: TSchema) => ("x-media-type" in schema ? {} : { example: exampleOf(schema) });

/** A list that heeds `fields` has items with all that is required, or with the named members alone. */
function trimmable(route: Route, schema: TSchema): TSchema {
  const { properties } = schema as unknown as { properties?: Record<string, TSchema & { items?: TSchema }> };
  const item = properties?.items?.items;
  const asked = (route.query as { properties?: object } | undefined)?.properties;
  if (!item || !asked || !("fields" in asked)) return schema;
  const { anyOf: shapes = [item] } = item as TSchema & { anyOf?: TSchema[] };
  const trimmed = shapes.map((shape) => {
    const { required: _, ...partial } = shape as TSchema & { title?: string; required?: string[] };
    const title = partial.title ? { title: `${partial.title}Fields` } : {};
    return { ...partial, ...title, description: "With `fields`: the named members alone." };
  });
  const items = { ...properties.items, items: { anyOf: [...shapes, ...trimmed] } };
  return { ...schema, properties: { ...properties, items } } as unknown as TSchema;
}

/** Whether what a call makes has an address: an operation always has; another thing, where a route reads it. */
function isLocated({ modules }: Source, { path }: Route, status: string): boolean {
  if (status !== "201") return status === "202";
  const routes = modules.flatMap((module) => module.routes ?? []);
  return routes.some((other) => other.method === "GET" && other.path.startsWith(`${path}/{`));
}

const replyOf = (route: Route, status: number) => (route.replies as Record<number, TSchema | null>)[status] ?? null;

/** Whether a reply carries an ETag: that of a resource does, and of whatever else says so by `x-etag`. */
const isTagged = (schema: TSchema | null) =>
  schema !== null && ("id" in ((schema as { properties?: object }).properties ?? {}) || "x-etag" in schema);

const mediaType = (schema: TSchema) => (schema as { "x-media-type"?: string })["x-media-type"] ?? "application/json";
const statusWords: Record<string, string> = {
  101: "The connection speaks WebSocket from here on.",
  200: "Success.",
  201: "Created.",
  202: "Accepted; the work goes on.",
  204: "Done; there is nothing to show.",
};
