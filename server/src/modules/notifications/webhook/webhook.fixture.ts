/** A tenant with webhooks at receivers on loopback, for the test files of webhooks. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { type Received, startReceiver } from "../../../../test/receiver.ts";
import { faultsOfEvent } from "../../../../test/wire.ts";
import { modules } from "../../../app.ts";

export const hour = 3_600_000;

/** Starts a server whose one tenant `ours` tells of the things that `makeThing` makes. */
export async function startWebhooks(options: { attemptMs?: number } = {}) {
  // The independent verifier looks at the machine's clock.
  const startsAt = new Date().toISOString();
  const server = await startServer({ modules: [...modules, planted], startsAt, ...options });
  const ours = await server.tenant(server.rootId, "customer", "Ours");
  const key = await server.key(ours, "tenant_administrator");
  const writer = await server.key(ours, ["export.run"]);
  const receivers: Received[][] = [];
  after(() => {
    const events = receivers.flat().map(({ body }) => JSON.parse(body));
    // A test send is an example; it may say so.
    const faults = events.flatMap(({ test: _, ...event }) => faultsOfEvent(server.kernel, event));
    assert.deepEqual([...new Set(faults)], []);
    assert.ok(events.length > 0);
  });

  return {
    server,
    ours,
    key,
    /** A receiver that gets nothing but events as the catalogue describes them. */
    async startReceiver(...given: Parameters<typeof startReceiver>) {
      const receiver = await startReceiver(...given);
      receivers.push(receiver.received);
      return receiver;
    },
    makeThing: async (name = "thing") => (await server.post("/v1/thing", { name }, { key: writer })).body.id as string,
    /** `by`: who makes it, and so owns it. */
    async register(url: string, more: object = {}, by: { key: string } | { token: string } = { key }) {
      const answer = await server.post("/v1/webhook", { url, types: ["demarc.export.*"], ...more }, by);
      assert.equal(answer.status, 201, answer.text);
      return answer.body;
    },
    remove: (id: string) => server.delete(`/v1/webhook/${id}`, { key }),
    deliveries: async (webhookId: string, more = "") =>
      (await server.get(`/v1/webhook-delivery?webhookId=${webhookId}&limit=200${more}`, { key })).body.items,
    state: async (id: string) => (await server.get(`/v1/webhook/${id}`, { key })).body,
    /** Moves the clock to just after the next attempts are due. */
    async untilNext(webhookId: string): Promise<void> {
      const [next] = await server.sql(
        "select max(next_attempt_at) as at from kernel.delivery where target_id = $1 and status in ('pending','retrying')",
        [webhookId],
      );
      server.clock.set(new Date(next.at.getTime() + 1));
    },
    /** Waits until the log has been made into deliveries as far as it goes. */
    async caughtUp(): Promise<void> {
      await eventually(async () => {
        const found = await server.sql(
          "select 1 from notifications.webhook_place p, kernel.log_state s where p.position = s.head_position and not exists (select from kernel.outbox)",
        );
        return found.length === 1;
      });
    },
  };
}

export const seenBy = (received: Received[], count: number) => eventually(() => received.length >= count);
