import type { TestServer } from "./harness.ts";

/** For tests of keys: customers of one partner, each its own, so that no test counts the keys of another. */
export async function startKeyHolders(server: TestServer) {
  const partner = await server.tenant(server.rootId, "partner", "Q");
  let count = 0;
  return {
    partner,
    /** A customer with an administrator's key. */
    async customer() {
      const id = await server.tenant(partner, "customer", `Customer ${++count}`);
      return { id, key: await server.key(id, "tenant_administrator") };
    },
    issue: (key: string, body: object, headers: Record<string, string> = {}) =>
      server.post("/v1/key", body, { key, headers }),
    /** The status of a call that any credential may make, and that has no bucket of its own. */
    statusOf: async (key: string) => (await server.get("/v1/operation", { key })).status,
  };
}
