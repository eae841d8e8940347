/** A planted service for tests of the front door: its one effect is an event and an audit entry per made thing. */
import { Type } from "typebox";
import { type Module, Reply, route } from "../src/kernel/contract.ts";
import { event } from "../src/kernel/events.ts";
import { newId } from "../src/kernel/ids.ts";
import { problem, refuse } from "../src/kernel/problem.ts";
import { id, nullable, object, oneOf, text } from "../src/kernel/schema.ts";

export const Thing = object(
  { id: id("thg"), name: text(50), colour: nullable(oneOf(["red", "green"])) },
  { title: "Thing" },
);
export const thingCreated = event("export", "thing.created", {
  permission: "export.run",
  summary: "A thing was made.",
  resource: Thing,
});
const nameTaken = problem("thing_name_taken", 409, "A thing of this name exists.");

/** What the tests steer: names that are taken, a run that fails, a run that waits; and how many runs have begun. */
export const steering = { taken: new Set<string>(), fails: 0, waits: null as Promise<void> | null, begun: 0 };

export const planted: Module = {
  name: "export",
  about: "A planted service.",
  events: [thingCreated],
  routes: [
    route({
      method: "POST",
      path: "/thing",
      versions: "v1+",
      id: "createThing",
      summary: "Make a thing",
      permission: "export.run",
      query: object({ note: Type.Optional(text(20)), mark: Type.Optional(text(20)) }),
      body: object(
        {
          name: text(50),
          colour: Type.Optional(nullable(oneOf(["red", "green"]))),
          size: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })),
          nested: Type.Optional(object({ deep: Type.Boolean() })),
        },
        { "x-read-only": ["id"] },
      ),
      replies: { 201: Thing },
      problems: [nameTaken],
      emits: [thingCreated],
      run: async (ctx, { body }) => {
        steering.begun++;
        await steering.waits;
        if (steering.taken.has(body.name)) throw refuse(nameTaken);
        const thing = { id: newId("thg"), name: body.name, colour: body.colour ?? null };
        const place = { tenantId: ctx.who.acting.id, subject: thing.id, path: `/thing/${thing.id}` };
        ctx.emit(thingCreated, { ...place, resource: thing, previous: null, changed: [] });
        const item = { kind: "thing", id: thing.id, name: thing.name };
        ctx.audit({ tenantId: ctx.who.acting.id, type: "operation", action: "created", item, changes: [] });
        if (steering.fails-- > 0) throw new Error("planted failure after the effect");
        return new Reply(201, thing, { location: `/thing/${thing.id}` });
      },
    }),
    route({
      method: "POST",
      path: "/thing/search",
      versions: "v1+",
      id: "searchThings",
      summary: "Search by a body",
      permission: "export.run",
      effect: "read",
      emits: { none: "It only reads." },
      body: object({ q: text(50) }),
      replies: { 200: object({ q: text(50) }) },
      run: (_ctx, { body }) => ({ q: body.q }),
    }),
    route({
      method: "POST",
      path: "/thing/secret",
      versions: "v1+",
      id: "createSecretThing",
      summary: "Make something shown once",
      permission: "export.run",
      secret: "secret",
      body: object({ name: text(50) }),
      replies: { 201: object({ name: text(50), secret: nullable(Type.String()) }) },
      emits: { none: "Planted." },
      run: (_ctx, { body }) => new Reply(201, { name: body.name, secret: `shown-once-${newId("sec")}` }),
    }),
  ],
};
