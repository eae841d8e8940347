/**
 * A planted build of two versions. Of the users that there are, v1 has firstName and lastName where v2 has `fullname`;
 * a planted service shows what else a change may be: bulk calls, results of work, members of events, previews, ends.
 */
import { Type } from "typebox";
import { modules } from "../src/app.ts";
import { runBulk } from "../src/kernel/bulk.ts";
import { bulkBody, bulkReply } from "../src/kernel/bulk-schema.ts";
import { type Module, Reply, route } from "../src/kernel/contract.ts";
import { event } from "../src/kernel/events.ts";
import { accepted } from "../src/kernel/operation-store.ts";
import { Operation, type OperationKind, operationEvents } from "../src/kernel/operations.ts";
import { listOf, listQuery } from "../src/kernel/page.ts";
import { id, nullable, object, text } from "../src/kernel/schema.ts";
import type { Change } from "../src/kernel/version-changes.ts";
import type { Version } from "../src/kernel/versions.ts";
import { NewUser, OwnUser, User, UserChange } from "../src/modules/directory/user/schema.ts";

type Members = Record<string, unknown>;
const Person = object({ id: id("pln"), name: text(100) }, { title: "PlantedPerson" });
const OldPerson = object(
  { id: id("pln"), firstName: Type.String(), lastName: Type.String() },
  { title: "PlantedPerson" },
);
const about = { permission: "export.run", resource: Person, adds: { reason: nullable(text(50)) } } as const;
export const plantedRenamed = event<{ reason: string | null }>("export", "planted.renamed", {
  ...about,
  summary: "A name was changed.",
});
export const plantedDeleted = event<{ reason: string | null }>("export", "planted.deleted", {
  ...about,
  summary: "One was removed.",
});
export const plantedGrown = event<{ reason: string | null }>("export", "planted.grown", {
  ...about,
  since: "v2",
  summary: "News of v2 alone.",
});

const names = { firstName: text(50), lastName: text(50) };
const joined = ({ firstName, lastName, ...rest }: Members, as: string) => ({
  ...rest,
  [as]: `${firstName} ${lastName}`,
});
const split = (now: Members, as: string) => {
  const { [as]: whole, ...rest } = now;
  const [firstName, ...more] = String(whole).split(" ");
  return { ...rest, firstName, lastName: more.join(" ") };
};

export const personGetsOneName: Change = {
  in: "v2",
  about: "firstName and lastName became name",
  operations: {
    createPlanted: { body: object(names), request: (old) => joined(old as Members, "name") },
    bulkPlanted: {
      body: bulkBody(object({ person: object(names) }), {}),
      request: (old) => {
        const { items, ...rest } = old as { items: { person: Members }[] };
        return { ...rest, items: items.map(({ person }) => ({ person: joined(person, "name") })) };
      },
    },
    listPlanted: {
      query: listQuery({ lastName: text(50) }, ["firstName"], OldPerson),
      ask: ({ lastName, ...rest }) => ({ ...rest, ...(lastName === undefined ? {} : { q: lastName }) }),
    },
    countPlanted: {
      replies: {
        200: { schema: object({ total: Type.Integer() }), reply: (now) => ({ total: (now as Members).count }) },
      },
    },
  },
  resources: { PlantedPerson: { schema: OldPerson, reply: (now) => split(now, "name") } },
  events: {
    "demarc.export.planted.*": {
      adds: { why: Type.String() },
      data: ({ reason, ...now }) => ({ ...now, why: reason ?? "" }),
    },
  },
};

const without = ({ properties }: { properties: object }, name: string) => {
  const { [name]: _, ...rest } = properties as Record<string, never>;
  return rest;
};
const oldNames = { firstName: Type.String(), lastName: Type.String() };
const oldUser = (schema: { properties: object }, title: string) => ({
  schema: object({ ...without(schema, "fullname"), ...oldNames }, { title }),
  reply: (now: Members) => split(now, "fullname"),
});
export const userGetsOneName: Change = {
  in: "v2",
  about: "firstName and lastName became fullname",
  operations: {
    upsertUser: {
      body: object({ ...without(NewUser, "fullname"), ...names }, { title: "NewUser" }),
      request: (old) => joined(old as Members, "fullname"),
    },
    updateUser: {
      body: object(
        { ...without(UserChange, "fullname"), firstName: Type.Optional(text(50)), lastName: Type.Optional(text(50)) },
        { title: "UserChange" },
      ),
      readsResource: true,
      request: (old, stands) => {
        const { firstName = stands!.firstName, lastName = stands!.lastName, ...rest } = old as Members;
        return "firstName" in (old as Members) || "lastName" in (old as Members)
          ? joined({ ...rest, firstName, lastName }, "fullname")
          : rest;
      },
    },
  },
  resources: { User: oldUser(User, "User"), OwnUser: oldUser(OwnUser, "OwnUser") },
};

const people = new Map<string, { id: string; name: string }>();
function plant(name: string) {
  const person = { id: `pln_${String(people.size).padStart(26, "0")}`, name };
  people.set(person.id, person);
  return person;
}
const growing: OperationKind<{ name: string }> = {
  kind: "export.grow",
  summary: "Grow",
  result: Person,
  restart: "again",
  exclusive: false,
  maxMinutes: 1,
  cancellable: false,
  run: async (_work, { name }) => {
    const person = plant(name);
    return { url: `/planted/${person.id}`, data: person };
  },
};
const BulkItem = object({ person: object({ name: text(100) }) });
const place = { versions: "v1+", permission: "export.run", summary: "Planted" } as const;

const service: Module = {
  name: "export",
  about: "A planted service.",
  events: [plantedRenamed, plantedDeleted, plantedGrown],
  operations: [growing],
  routes: [
    route({
      ...place,
      method: "POST",
      path: "/planted",
      id: "createPlanted",
      body: object({ name: text(100) }),
      replies: { 201: Person },
      emits: { none: "Planted." },
      run: (_ctx, { body }) => {
        const person = plant(body.name);
        return new Reply(201, person, { location: `/planted/${person.id}` });
      },
    }),
    route({
      ...place,
      method: "POST",
      path: "/planted/bulk",
      id: "bulkPlanted",
      body: bulkBody(BulkItem, {}),
      replies: { 200: bulkReply({ person: nullable(Person) }) },
      emits: { none: "Planted." },
      run: (ctx, { body }) =>
        runBulk(ctx, body, {
          item: BulkItem,
          perform: async (_own, { person }: { person: { name: string } }) => ({
            status: 201,
            outcome: "created" as const,
            person: plant(person.name),
          }),
          blank: { person: null as never },
        }),
    }),
    route({
      ...place,
      method: "POST",
      path: "/planted/grow",
      id: "growPlanted",
      async: true,
      body: object({ name: text(100) }),
      replies: { 202: Operation, 200: Person },
      emits: [operationEvents.queued],
      run: async (ctx, { body }) => {
        const start = { tenantId: ctx.who.acting.id, subject: null, input: { name: body.name } };
        return accepted(ctx, (await ctx.startOperation(growing, start)).id);
      },
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted",
      id: "listPlanted",
      query: listQuery({ q: text(50) }, ["name"], Person),
      replies: { 200: listOf(Type.Union([Person, object({ gone: Type.Boolean() })])) },
      run: (_ctx, { query }) => ({
        items: Array.from(people.values()).filter(({ name }) => !query.q || name.includes(query.q)),
        nextCursor: "more",
        nextLink: "/planted?cursor=more",
      }),
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted/count",
      id: "countPlanted",
      replies: { 200: object({ count: Type.Integer() }) },
      run: () => ({ count: people.size }),
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted/{id}",
      id: "getPlanted",
      replies: { 200: Person },
      run: (_ctx, { params }) => people.get(params.id)!,
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted-new",
      versions: "v2+",
      id: "getPlantedNew",
      replies: { 200: object({ new: Type.Boolean() }) },
      run: () => ({ new: true }),
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted-old",
      id: "getPlantedOld",
      deprecated: { at: "2026-07-01T00:00:00Z", sunset: "2027-07-01T00:00:00Z", successor: "/planted-new" },
      replies: { 200: object({ old: Type.Boolean() }) },
      run: () => ({ old: true }),
    }),
    route({
      ...place,
      method: "GET",
      path: "/planted-preview",
      versions: "v2+",
      id: "getPlantedPreview",
      preview: true,
      replies: { 200: object({ preview: Type.Boolean() }) },
      run: () => ({ preview: true }),
    }),
  ],
};
const versions: Version[] = [
  {
    label: "v1",
    releasedAt: "2026-01-01",
    deprecatedAt: "2026-06-01T00:00:00Z",
    sunsetAt: "2027-06-01T00:00:00Z",
  },
  { label: "v2", releasedAt: "2026-05-01" },
];

/** What `startServer` takes to run it. */
export const plantedVersions = {
  modules: [...modules, service],
  versions,
  changes: [personGetsOneName, userGetsOneName],
};
