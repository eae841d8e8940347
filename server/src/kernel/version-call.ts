/** A call of an older version: what it asks becomes what the newest one would, and its result what the older one shows. */
import type { FastifyRequest } from "fastify";
import type { TSchema } from "typebox";
import { etagOf, serialise } from "./answer.ts";
import { MalformedItem } from "./bulk.ts";
import { type Context, Reply, type Route } from "./contract.ts";
import { entityTags, type Visit } from "./door.ts";
import type { Kernel } from "./kernel.ts";
import { invalid, Problem, stale } from "./problem.ts";
import { faultsOf } from "./validate.ts";

export type Input = { params: Record<string, string>; query: Record<string, unknown>; body: unknown };

/** What the call would have answered, had it not been long work, as its version shows it. */
export function replyOfWork({ versions }: Kernel, { entry, version }: Visit, data: unknown) {
  const { id, replies } = entry!.route as Pick<Route, "id"> & { replies: Record<number, TSchema | null> };
  const status = 201 in replies ? 201 : 200;
  const schema = replies[status];
  const shown =
    schema && !versions.isNewest(version!.label)
      ? versions.downgrade(data, schema, version!.label, { id, status })
      : data;
  return { status, text: JSON.stringify(shown) };
}

/** The body of an older version as the newest has it, and the context in which it means that. */
export async function asNewest(kernel: Kernel, ctx: Context, route: Route, { params, body }: Input) {
  const { versions } = kernel;
  const { version } = ctx.call;
  if (!route.body || body === undefined || versions.isNewest(version)) return { ctx, body };
  if (!versions.readsResource(route, version)) return { ctx, body: upgraded(kernel, route, body, version) };
  const reader = kernel.modules
    .flatMap(({ routes = [] }) => routes)
    .find(
      (one) => one.method === "GET" && one.path === route.path && versions.covers(one.versions, versions.newest.label),
    )!;
  const schema = (reader.replies as Record<number, TSchema>)[200]!;
  const shown = await reader.run(ctx, { params, query: {}, body: undefined } as never);
  const { body: resource, etag = etagOf(schema, resource) } =
    shown instanceof Reply ? { body: shown.body, etag: shown.extra.etag } : { body: shown, etag: undefined };
  const given = ctx.call.ifMatch;
  const ifMatch = given && !given.includes("*") ? given.filter((tag) => tag === etag) : [etag];
  const stands = { value: JSON.parse(serialise(schema, resource)), schema };
  return {
    ctx: { ...ctx, call: { ...ctx.call, ifMatch } },
    body: upgraded(kernel, route, body, version, stands),
  };
}

type Stands = { value: unknown; schema: TSchema };
type Bulk = { items: unknown[] };

/** What change modules make must be a body of the newest version; what is not is refused as that one would. */
function upgraded({ versions }: Kernel, route: Route, body: unknown, version: string, stands?: Stands): unknown {
  const stated = versions.bodySchema(route, route.body as TSchema, version) as {
    properties?: { items?: { items?: { "x-schema"?: TSchema } } };
  };
  const item = stated.properties?.items?.items?.["x-schema"];
  const made = item
    ? upgradedBulk(item, body as Bulk, (bulk) => versions.upgrade(route, bulk, version) as Bulk)
    : versions.upgrade(route, body, version, stands);
  const faults = faultsOf(route.body as TSchema, made);
  if (faults.length > 0) throw invalid(faults);
  return made;
}

/** Items that the older version refuses are refused in its words, each by itself. */
function upgradedBulk(item: TSchema, body: Bulk, upgrade: (body: Bulk) => Bulk): Bulk {
  const faults = body.items.map((one) => faultsOf(item, one));
  const sound = body.items.filter((_, index) => faults[index]!.length === 0);
  const made = upgrade({ ...body, items: sound });
  const rest = made.items.values();
  const items = faults.map((list) => (list.length > 0 ? new MalformedItem(list) : rest.next().value));
  return { ...made, items };
}

const mostTries = 5;

/**
 * Performs a call. A patch of an older version that was read beside its resource (see Change) must find that as it was
 * read; where another change came between, it is read anew, as long as the caller set no condition of its own.
 */
export async function untilUnmoved<T>(
  { versions }: Kernel,
  request: FastifyRequest,
  route: Route,
  perform: () => Promise<T>,
): Promise<T> {
  const tags = entityTags(request.headers["if-match"]);
  const isOurs = versions.readsResource(route, request.visit.version!.label) && (!tags || tags.includes("*"));
  for (let tries = 1; ; tries++) {
    try {
      return await perform();
    } catch (error) {
      if (!isOurs || tries === mostTries || !(error instanceof Problem && error.kind === stale)) throw error;
    }
  }
}
