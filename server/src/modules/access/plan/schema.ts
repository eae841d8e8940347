import { type Static, type TSchema, Type } from "typebox";
import { id, instant, line, nullable, object, text } from "#kernel/schema";

/** The lanes of the built-in plan, and of a new plan that does not state them. */
export const standardLanes = {
  api: { ratePerSecond: 10, burst: 20, perDay: 10_000 },
  scim: { ratePerSecond: 25, burst: 50, perDay: null },
  publish: { ratePerSecond: 100, burst: 200, perDay: 1_000_000 },
};
export const laneNames = ["api", "scim", "publish"] as const;
export const figureNames = ["ratePerSecond", "burst", "perDay"] as const;

const figures = {
  ratePerSecond: Type.Integer({ minimum: 1, maximum: 10_000, description: "Calls that flow in per second." }),
  burst: Type.Integer({ minimum: 1, maximum: 100_000, description: "Calls at one instant." }),
  perDay: nullable(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      description: "Calls per calendar day of the tenant's time zone; null: no limit.",
    }),
  ),
};
const Lane = object(figures);
const LaneChange = object({
  ratePerSecond: Type.Optional(figures.ratePerSecond),
  burst: Type.Optional(figures.burst),
  perDay: Type.Optional(figures.perDay),
});
const lanesOf = <L extends TSchema>(lane: L) => object({ api: lane, scim: lane, publish: lane });

export const Lanes = lanesOf(Lane);
export type Lanes = Static<typeof Lanes>;
const LanesChange = object({
  api: Type.Optional(LaneChange),
  scim: Type.Optional(LaneChange),
  publish: Type.Optional(LaneChange),
});
export type LanesChange = Static<typeof LanesChange>;

/** The plan that applies to a tenant, wherever it comes from. */
export const AppliedPlan = object({
  id: nullable(id("pln", { description: "null where the plan comes from a tenant that you cannot see." })),
  name: nullable(Type.String()),
  lanes: Lanes,
});

export const Plan = object(
  {
    id: id("pln"),
    tenantId: id("tnt", { description: "Whose plan it is; it may be given to tenants below." }),
    name: text(100),
    lanes: Lanes,
    builtIn: Type.Boolean(),
    createdAt: instant,
    updatedAt: instant,
  },
  { title: "Plan" },
);
export type Plan = Static<typeof Plan>;

const readOnly = ["id", "tenantId", "builtIn", "createdAt", "updatedAt"];
export const NewPlan = object(
  {
    name: line(100),
    lanes: Type.Optional(LanesChange),
  },
  { description: "What is left out of `lanes` is as in the plan `standard`.", "x-read-only": readOnly },
);
export type NewPlan = Static<typeof NewPlan>;
export const PlanChange = object(
  { name: Type.Optional(line(100)), lanes: Type.Optional(LanesChange) },
  { "x-read-only": readOnly },
);
export type PlanChange = Static<typeof PlanChange>;
