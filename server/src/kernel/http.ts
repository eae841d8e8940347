/**
 * The front door: the route table on Fastify, and one request's way through it. Steps 1-8 (before the body) are in
 * door.ts; here follow body, schema, idempotency, the operation in its transaction, and the reply.
 */
import { Readable } from "node:stream";
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { TSchema } from "typebox";
import { clientAddress } from "./address.ts";
import { createAllow } from "./allow.ts";
import { etagOf, sendProblem, serialise, unexpected } from "./answer.ts";
import { anonymous, inTransaction, readingContext, type Warnings } from "./context.ts";
import { type Context, Reply, type Route } from "./contract.ts";
import { mountCors } from "./cors.ts";
import type { Db } from "./db.ts";
import { callOf, createDoor, type Entry, entityTags, type Group, isWrite, openVisit, type Visit } from "./door.ts";
import type { EventKind } from "./events.ts";
import { onFirmGround } from "./firm-ground.ts";
import { answerGarbage, expected } from "./http-refusal.ts";
import { type Outcome, onceInOwn, onceOnly, readIdempotencyKey } from "./idempotency.ts";
import { readJson } from "./json.ts";
import type { Kernel } from "./kernel.ts";
import { operationEnded } from "./operations.ts";
import { type Fault, invalid, mediaTypeNotSupported, notFound, Problem, refuse, versionUnknown } from "./problem.ts";
import { faultsOf, readQuery } from "./validate.ts";
import { asNewest, type Input, replyOfWork, untilUnmoved } from "./version-call.ts";
import { recordIfUnheard, recordVisit } from "./visit-line.ts";
import { mountVitals } from "./vitals.ts";

export const mebibyte = 1_048_576;

/** Entries of all modules, grouped by what Fastify can tell apart: method and path. */
export function routeTable(kernel: Pick<Kernel, "modules">): Entry[] {
  return kernel.modules.flatMap((module) =>
    (module.routes ?? []).map((route) => ({ route, service: module.name, template: `/{label}${route.path}` })),
  );
}

export async function buildHttp(kernel: Kernel): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    bodyLimit: mebibyte,
    requestTimeout: kernel.settings.requestSeconds * 1_000,
    connectionTimeout: 60_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: 512, querystringParser: () => ({}) },
    http: {
      maxHeaderSize: 16_384,
      headersTimeout: Math.min(10_000, kernel.settings.requestSeconds * 1_000),
      connectionsCheckingInterval: 1_000,
    },
    frameworkErrors: (error, request, reply) => {
      request.visit ??= openVisit(request, request.ip);
      finish(request, reply, error);
    },
    clientErrorHandler: answerGarbage,
  });
  const entries = routeTable(kernel);
  const allowedVerbs = createAllow(entries);
  const door = createDoor(kernel, allowedVerbs);

  app.decorateRequest("visit");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(/^application\/(?:[a-z0-9.+-]+\+)?json/i, { parseAs: "buffer" }, parseJson);
  app.addHook("onRequest", (request, reply, done) => {
    request.visit = openVisit(request, clientAddress(request.raw, kernel.settings.trustedProxies));
    reply.header("x-request-id", request.visit.requestId);
    if (request.visit.correlationId) reply.header("correlation-id", request.visit.correlationId);
    const group = (request.routeOptions.config as { group?: Group }).group;
    if (!group) return done();
    try {
      const entered = door.enter(request, reply, group);
      // A reader who is to log in first has been sent there.
      if (entered) entered.then(() => reply.sent || done(), done);
      else done();
    } catch (error) {
      done(error as Error);
    }
  });
  mountCors(app, kernel.settings.corsOrigins, (path) => allowedVerbs(path).length > 0);
  mountVitals(app, kernel);
  app.addHook("onSend", (request, reply, _payload, done) => {
    const charge = request.visit?.charge;
    if (charge?.policy) {
      reply.header("ratelimit-policy", charge.policy);
      reply.header("ratelimit", charge.limit);
    }
    recordIfUnheard(kernel, request, reply);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    recordVisit(kernel, request, reply);
    done();
  });
  app.setErrorHandler((error: FastifyError, request, reply) => finish(request, reply, error));
  app.setNotFoundHandler((request, reply) => finish(request, reply, door.missing(request, reply)));

  function finish(request: FastifyRequest, reply: FastifyReply, error: Error): void {
    const problem = expected(error);
    if (!problem) {
      kernel.log.error(
        { err: error, requestId: request.visit.requestId, route: request.visit.entry?.template },
        "unexpected error",
      );
    }
    if (problem?.kind === versionUnknown) door.unsign(reply);
    sendProblem(reply, request.visit, problem ?? unexpected(), (request.raw.url ?? "").split("?", 1)[0]!);
  }

  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const name = `${entry.route.method} ${entry.route.path}`;
    groups.set(name, [entry, ...(groups.get(name) ?? [])]);
  }
  for (const group of groups.values()) {
    const { route } = group[0]!;
    app.route({
      method: route.method,
      url: `/:label${route.path.replaceAll(/\{(\w+)\}/g, ":$1")}`,
      bodyLimit: Math.max(...group.map((entry) => entry.route.bodyLimitBytes ?? mebibyte)),
      config: { group },
      handler: (request, reply) => handle(kernel, request, reply, door.again),
    });
  }
  for (const module of kernel.modules) {
    if (module.mount) await app.register(async (scope) => module.mount!(scope, kernel));
  }
  return app;
}

async function parseJson(request: FastifyRequest, body: Buffer): Promise<unknown> {
  const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers["content-type"] ?? "")?.[1];
  if (charset && !/^utf-?8$/i.test(charset)) {
    throw refuse(mediaTypeNotSupported, { detail: `The charset ${charset} is not supported; send UTF-8.` });
  }
  const coding = request.headers["content-encoding"];
  if (coding && coding !== "identity")
    throw refuse(mediaTypeNotSupported, { detail: "Send the body as it is, without a content coding." });
  request.visit.bytesIn = body.length;
  if (body.length === 0) return undefined;
  const reading = readJson(body);
  if (reading.ok) return reading.value;
  const { rule, pointer, message } = reading.fault;
  throw invalid([{ pointer: pointer ?? "", rule, message }]);
}

type Again = ReturnType<typeof createDoor>["again"];

async function handle(
  kernel: Kernel,
  request: FastifyRequest,
  reply: FastifyReply,
  again: Again,
): Promise<FastifyReply> {
  const visit = request.visit;
  const { route } = visit.entry!;
  const input = readInput(kernel, request, route);
  const warnings: Warnings = [];
  const outcome = await preferred(
    kernel,
    request,
    reply,
    await untilUnmoved(kernel, request, route, () => perform(kernel, request, route, input, warnings, again)),
  );
  if (warnings.length > 0) {
    reply.header(
      "demarc-warning",
      warnings.map(({ code, pointer }) => (pointer ? `${code};pointer="${pointer}"` : code)).join(", "),
    );
  }
  if (outcome.replayed) reply.header("idempotency-replayed", "true");
  const tags = route.method === "GET" ? entityTags(request.headers["if-none-match"]) : null;
  if (
    tags &&
    outcome.headers.etag &&
    (tags.includes("*") || tags.some((tag) => tag.replace(/^W\//, "") === outcome.headers.etag))
  ) {
    return reply.code(304).header("etag", outcome.headers.etag).send();
  }
  reply.code(outcome.status).headers(outcome.headers);
  // Fastify would read a stream to its end for HEAD, and one that follows the log has none.
  if (outcome.stream && request.method === "HEAD") {
    outcome.stream.destroy();
    return reply.send();
  }
  return reply.send(outcome.stream ?? outcome.text ?? undefined);
}

/** `Prefer` on a route that answers 202: the reply of the finished work, if it ends in the time the caller gives it. */
async function preferred(
  kernel: Kernel,
  request: FastifyRequest,
  reply: FastifyReply,
  outcome: Outcome,
): Promise<Outcome> {
  const { route } = request.visit.entry!;
  if (outcome.status !== 202 || !route.async) return outcome;
  const { wait, respondAsync } = callOf(request).prefer;
  if (wait === null && !respondAsync) return outcome;
  reply.header("preference-applied", respondAsync ? "respond-async" : `wait=${wait}`);
  if (respondAsync || wait === null) return outcome;
  const operationId = (outcome.headers.location ?? "").split("/").pop()!;
  const row = await kernel.operations.settled(request.visit.who!.acting.id, operationId, wait * 1_000);
  if (!row?.finished_at) return outcome;
  if (row.status !== "succeeded") {
    const { error } = row;
    const kind = error
      ? { code: String(error.code), status: Number(error.status), title: String(error.title) }
      : operationEnded;
    throw new Problem(kind, {
      detail: error ? String(error.detail) : `The operation is ${row.status}.`,
      members: { operation: outcome.headers.location },
    });
  }
  const location: Record<string, string> = row.result?.url
    ? { location: `/${request.visit.label}${row.result.url}` }
    : {};
  return {
    ...replyOfWork(kernel, request.visit, row.result?.data ?? null),
    headers: { "content-type": "application/json; charset=utf-8", ...location },
  };
}

function readInput(kernel: Kernel, request: FastifyRequest, route: Route): Input {
  const version = request.visit.version!.label;
  const url = request.raw.url ?? "";
  const mark = url.indexOf("?");
  const schema = kernel.versions.querySchema(route, version);
  const { query, faults } = readQuery(schema, mark < 0 ? "" : url.slice(mark + 1));
  const { label: _, ...params } = request.params as Record<string, string>;
  // PostgreSQL holds no U+0000: nothing can be at such an address.
  if (Object.values(params).some((value) => value.includes("\0"))) throw refuse(notFound);
  const { body } = request;
  if (route.body) {
    const stated = kernel.versions.bodySchema(route, route.body as TSchema, version);
    if (body !== undefined) faults.push(...bodyFaults(stated, route, body, kernel.versions.isNewest(version)));
    else if (!route.bodyOptional) faults.push({ pointer: "", rule: "required", message: "A JSON body is needed." });
  }
  if (faults.length > 0) throw invalid(faults as Fault[]);
  return { params, query: kernel.versions.upgradeQuery(route, query, version), body };
}

/** Faults by the schema; where there are any, also those of the sound members by the rules that a schema cannot say. */
function bodyFaults(schema: TSchema, route: Route, body: unknown, isNewest: boolean): Fault[] {
  const faults = faultsOf(schema, body);
  if (faults.length === 0 || !route.check || !isNewest || typeof body !== "object" || body === null) return faults;
  const faulty = new Set(faults.map(({ pointer }) => pointer?.split("/")[1]));
  const sound = Object.fromEntries(Object.entries(body).filter(([name]) => !faulty.has(name)));
  const more = (route.check as (body: object) => Fault[])(sound);
  // With a faulty member left out, what seems to lack its partner may have one.
  return [...faults, ...more.filter(({ rule }) => rule !== "pair")];
}

const nobody: EventKind[] = [];
async function perform(
  kernel: Kernel,
  request: FastifyRequest,
  route: Route,
  input: Input,
  warnings: Warnings,
  again: Again,
): Promise<Outcome> {
  const visit = request.visit;
  const now = kernel.now();
  const emits = "emits" in route && Array.isArray(route.emits) ? (route.emits as EventKind[]) : nobody;
  const caller = {
    who: visit.who ?? anonymous,
    call: callOf(request),
    log: kernel.log,
    now,
    emits,
    warnings,
    again: () => again(request),
  };
  const newest = (ctx: Context) => asNewest(kernel, ctx, route, input);
  const answer = (result: unknown) => render(kernel, visit, route, input, result);
  const run = async (ctx: Context) => {
    const now = await newest(ctx);
    return route.run(now.ctx, { ...input, body: now.body } as never);
  };
  const work = async (ctx: Context) => answer(await run(ctx));
  if (visit.who === null) return work(readingContext(kernel, caller));
  const own = (route as { transaction?: "own" }).transaction === "own";
  if (!isWrite(route)) {
    const read = () => work(readingContext(kernel, caller));
    return own ? read() : onFirmGround(kernel, visit.who, read);
  }
  const value = readIdempotencyKey(request.raw.rawHeaders);
  const { path, search } = caller.call;
  const asked = {
    ...{ method: route.method, path: normal(path), search, body: request.body, secret: route.secret },
    admits: async (db: Db) =>
      route.admits?.({ who: caller.who, db }, (await newest(readingContext(kernel, caller))).body as never),
  };
  const once = value === null ? undefined : await onceOnly(kernel, visit, { ...asked, value }, now);
  if (!own) return inTransaction(kernel, caller, work, once);
  return once ? onceInOwn(kernel, caller, once, run, answer) : work(readingContext(kernel, caller));
}

/** One spelling per path: percent-encoding is undone and made again. */
function normal(path: string): string {
  return path
    .split("/")
    .map((part) => encodeURIComponent(decodeURIComponent(part)))
    .join("/");
}

function render(kernel: Kernel, visit: Visit, route: Route, input: Input, result: unknown): Outcome {
  const { replies } = route as { replies: Record<number, TSchema | null> };
  const answer = result instanceof Reply ? result : new Reply(Number(Object.keys(replies)[0]), result);
  const schema = replies[answer.status];
  if (schema === undefined) throw new Error(`${route.id} does not declare the reply ${answer.status}.`);
  const headers: Record<string, string> = { ...answer.extra.headers };
  const prefix = `/${visit.label}`;
  if (answer.extra.location) headers.location = prefix + answer.extra.location;
  if (schema === null) return { status: answer.status, text: null, headers };
  const mediaType = (schema as { "x-media-type"?: string })["x-media-type"];
  headers["content-type"] ??= mediaType ?? "application/json; charset=utf-8";
  if (mediaType) {
    if (answer.extra.etag) headers.etag = answer.extra.etag;
    if (answer.body instanceof Readable) return { status: answer.status, text: null, stream: answer.body, headers };
    return { status: answer.status, text: answer.body as string, headers };
  }
  let body = linked(answer.body, prefix);
  const isResource =
    (schema as { properties?: object }).properties && "id" in (schema as { properties: object }).properties;
  let text: string | undefined;
  if (answer.extra.etag) headers.etag = answer.extra.etag;
  else if (isResource) headers.etag = etagOf(schema, body);
  if (!kernel.versions.isNewest(visit.version!.label)) {
    const version = visit.version!.label;
    const own = { id: route.id, status: answer.status };
    body = kernel.versions.downgrade(JSON.parse(serialise(schema, body)), schema, version, own);
    text = serialise(kernel.versions.replySchema(schema, version, own), body);
  }
  text ??= serialise(schema, body);
  if (Array.isArray(input.query.fields)) text = trimmed(text, input.query.fields as string[]);
  return { status: answer.status, text, headers };
}

/** Lists give their next page as a path below the label; here it gets the label that the caller used. */
function linked(body: unknown, prefix: string): unknown {
  const page = body as { nextLink?: unknown } | null;
  return page && typeof page === "object" && typeof page.nextLink === "string" && page.nextLink.startsWith("/")
    ? { ...page, nextLink: prefix + page.nextLink }
    : body;
}

/** `fields=a,b`: the named members of the resource, or of each item of a list. */
function trimmed(text: string, fields: string[]): string {
  const pick = (value: Record<string, unknown>) =>
    Object.fromEntries(fields.filter((name) => name in value).map((name) => [name, value[name]]));
  const body = JSON.parse(text) as Record<string, unknown>;
  return JSON.stringify(Array.isArray(body.items) ? { ...body, items: body.items.map(pick) } : pick(body));
}
