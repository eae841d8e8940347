/** A planted service whose only work is long: it ends when the test says so, or as its input says. */
import { Type } from "typebox";
import { type Module, route } from "../src/kernel/contract.ts";
import { accepted } from "../src/kernel/operation-store.ts";
import { Operation, type OperationKind, operationEvents, operationRunning } from "../src/kernel/operations.ts";
import { refuse, validationFailed } from "../src/kernel/problem.ts";
import { instant, object, oneOf } from "../src/kernel/schema.ts";

const ends = ["at once", "badly", "when told", "in steps"] as const;
type Input = { name: string; ends: (typeof ends)[number] };

/** What ends the work of a name, or lets it take its next step. */
export const gates = new Map<string, () => void>();
/** Names of all work that was begun, as often as it was begun. */
export const starts: string[] = [];
/** Names of work that may not begin. */
export const held = new Set<string>();

const told = (name: string, signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    gates.set(name, resolve);
    signal.addEventListener("abort", () => reject(new Error("aborted")));
  });

const brewing: OperationKind<Input> = {
  kind: "export.brew",
  summary: "Brew",
  result: object({ name: Type.String() }),
  restart: "again",
  exclusive: true,
  maxMinutes: 10,
  cancellable: true,
  admits: ({ input }) => !held.has(input.name),
  async run(work, input) {
    starts.push(input.name);
    if (input.ends === "badly") throw refuse(validationFailed, { detail: "It boiled over." });
    if (input.ends === "when told") await told(input.name, work.signal);
    if (input.ends === "in steps") {
      for (let step = 1; step <= 3; step++) {
        await work.progress(step, 3, `step ${step}`);
        await told(input.name, work.signal);
      }
    }
    return { url: `/brew/${input.name}`, data: { name: input.name } };
  },
};
/** Work that may not be begun twice. */
const fragile: OperationKind<Input> = { ...brewing, kind: "export.fragile", restart: "fail" };

export const brewery: Module = {
  name: "export",
  about: "A planted service.",
  operations: [brewing, fragile],
  routes: [
    route({
      method: "POST",
      path: "/brew",
      versions: "v1+",
      id: "brew",
      summary: "Brew",
      permission: "export.run",
      async: true,
      body: object({
        name: Type.String(),
        ends: oneOf(ends),
        fragile: Type.Optional(Type.Boolean()),
        notBefore: Type.Optional(instant),
        spilt: Type.Optional(Type.Boolean()),
      }),
      replies: { 202: Operation, 201: object({ name: Type.String() }) },
      problems: [operationRunning],
      emits: [operationEvents.queued],
      run: async (ctx, { body }) => {
        const { name, ends } = body;
        const place = { tenantId: ctx.who.acting.id, subject: name };
        const notBefore = body.notBefore === undefined ? undefined : new Date(body.notBefore);
        const kind = body.fragile ? fragile : brewing;
        const started = await ctx.startOperation(kind, { ...place, input: { name, ends }, notBefore });
        if (!started.started) throw refuse(operationRunning, { members: { operation: `/v1/operation/${started.id}` } });
        if (body.spilt) throw refuse(validationFailed, { detail: "It was spilt." });
        return accepted(ctx, started.id);
      },
    }),
  ],
};
