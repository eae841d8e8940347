import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startServer } from "../../../../test/harness.ts";
import { appliedPlan, effectiveFeatures, type Lineage, seenBy } from "./lineage.ts";
import { featureNames } from "./schema.ts";

const server = await startServer();
const root = await server.key(server.rootId, "provider_administrator");

type Node = { parent: number; own: Record<string, boolean>; hasPlan: boolean };
/** Partners below earlier ones; at most 7 below the root, as 8 levels allow. */
const tree = fc.array(
  fc.record({
    parent: fc.nat(),
    own: fc.record({ api: fc.constant(true), desk: fc.boolean(), exchange: fc.boolean(), beta: fc.boolean() }),
    hasPlan: fc.boolean(),
  }),
  { minLength: 1, maxLength: 7 },
);

test("effective features and the plan of every tenant of any tree are those of a walk from the root", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(tree, async (nodes: Node[]) => {
      run++;
      const ids: string[] = [];
      const naive: { features: Record<string, boolean>; burst: number }[] = [];
      const top = (await server.get("/v1/tenant/self", { key: root })).body;
      for (const [index, node] of nodes.entries()) {
        const at = node.parent % (index + 1);
        const parentId = at === 0 ? server.rootId : ids[at - 1]!;
        const above = at === 0 ? { features: top.features, burst: top.plan.lanes.api.burst } : naive[at - 1]!;
        let planId: string | undefined;
        if (node.hasPlan) {
          const lanes = { api: { burst: 100 + index } };
          planId = (await server.post("/v1/plan", { name: `Plan ${run}.${index}`, lanes }, { key: root })).body.id;
        }
        const body = { name: `Node ${run}.${index}`, kind: "partner", parentId, features: node.own, planId };
        const made = await server.post("/v1/tenant", body, { key: root });
        assert.equal(made.status, 201, made.text);
        ids.push(made.body.id);
        naive.push({
          features: Object.fromEntries(
            featureNames.map((name) => [name, above.features[name]! && made.body.features[name]]),
          ),
          burst: node.hasPlan ? 100 + index : above.burst,
        });
      }
      for (const [index, id] of ids.entries()) {
        const read = (await server.get(`/v1/tenant/${id}`, { key: root })).body;
        assert.deepEqual(read.effectiveFeatures, naive[index]!.features);
        assert.equal(read.plan.lanes.api.burst, naive[index]!.burst);
        const card = (await server.kernel.gate.tenant(id))!;
        assert.deepEqual([...card.features].sort(), featureNames.filter((name) => naive[index]!.features[name]).sort());
        assert.equal(card.plan.lanes.api.burst, naive[index]!.burst);
      }
    }),
    { numRuns: 5 },
  );
});

test("of any lineage a reader sees the part from the tenant up to its own reach, and never above the acting tenant", () => {
  const lane = { ratePerSecond: 1, burst: 1, perDay: null };
  const lanes = { api: lane, scim: lane, publish: lane };
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(), fc.nat(), (length, actingAt, heldAt) => {
      const ids = Array.from({ length }, (_, index) => `tnt_${index}`);
      const lineage: Lineage = ids.map((id) => ({
        id,
        features: {},
        plan: { id: `pln_${id}`, tenantId: id, name: id, lanes },
      }));
      const acting = actingAt % length;
      const held = heldAt % length;
      const who = {
        acting: { id: ids[acting], lineage: ids.slice(acting) },
        scopes: ["*"],
        grants: [{ permissions: new Set(["tenant.read"]), within: { kind: "tenant", id: ids[held] } }],
      };
      const sees = seenBy(who as never, lineage);
      for (const [index, id] of ids.entries()) assert.equal(sees(id), index <= Math.min(acting, held), `${index}`);
      assert.deepEqual(
        ids.map((id) => seenBy(null, lineage)(id)),
        ids.map((_, index) => index === 0),
      );
      assert.equal(appliedPlan(lineage).tenantId, ids[0]);
      assert.equal(Object.values(effectiveFeatures(lineage)).some(Boolean), false);
    }),
  );
});
