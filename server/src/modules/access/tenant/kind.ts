import { problem, refuse } from "#kernel/problem";

export const tenantKind = problem("tenant_kind", 409, "A tenant of this kind cannot stand there.");

export const mostLevels = 8;

/** Refuses a tenant below a customer, or further down than level 8 (the provider is level 1). */
export function refuseMisplaced(parent: { kind: string; level: number }): void {
  if (parent.kind === "customer") {
    throw refuse(tenantKind, { detail: "A customer has no tenants below it; use its org units or folders." });
  }
  if (parent.level >= mostLevels) throw refuse(tenantKind, { detail: `The tree has at most ${mostLevels} levels.` });
}
