import assert from "node:assert/strict";
import { startReceiver } from "../receiver.ts";
import { type FaultRun, inTurns } from "./fault-run.ts";
import { startInstallation } from "./installation.ts";

export const faultRun: FaultRun = {
  about: "WH-7. webhooks through two servers that are killed: every receiver has every event, repeats have equal ids",
  counts: {
    events: { about: "events", short: 60, long: 1_000 },
    kills: { about: "SIGKILLs, each followed by a new start", short: 2, long: 10 },
    silence: { about: "seconds without a heartbeat until a killed server counts as dead", short: 2, long: 15 },
  },
  async run({ events = 1, kills = 1, silence = 15 }, tell) {
    const receivers = await Promise.all([0, 1, 2].map(() => startReceiver()));
    const hanging = await startReceiver(() => {});
    const installation = await startInstallation(2, { DEMARC_OUTBOUND_ALLOW: "127.0.0.0/8" });
    const { servers, call } = installation;
    let restarting: Promise<void> = Promise.resolve();
    try {
      const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name: "Alpha", kind: "customer" } });
      const headers = { "demarc-tenant": made.body.id as string };
      const types = ["demarc.directory.user.updated"];
      for (const { url } of [...receivers, hanging]) {
        const answer = await call(servers[0]!, "POST", "/v1/webhook", { body: { url, types }, headers });
        assert.equal(answer.status, 201, answer.text);
      }
      const person = { username: "u", fullname: "0", email: "u@x.example", defaultOrgUnitExternalId: "ROOT" };
      const user = await call(servers[0]!, "POST", "/v1/user", { body: person, headers });
      let [done, killed] = [0, 0];
      await inTurns(events, 4, async (n) => {
        for (;;) {
          const ask = { body: { fullname: `name ${n}` }, headers };
          const server = servers[Math.floor(Math.random() * servers.length)]!;
          const answer = await call(server, "PATCH", `/v1/user/${user.body.id}`, ask).catch(() => null);
          if (answer?.status === 200) break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        done++;
        if (killed < kills && done >= ((killed + 0.5) * events) / kills) {
          const victim = killed++ % 2;
          restarting = restarting.then(() => installation.restart(victim));
        }
      });
      await restarting;
      const told = await installation.sql(
        "select id from kernel.event where type = 'demarc.directory.user.updated' union all select event_id from kernel.outbox where type = 'demarc.directory.user.updated'",
      );
      assert.ok(told.length >= events);
      // What a killed server had claimed is sent again once it counts as dead; as if that came sooner, its heartbeat goes.
      const bury = () =>
        installation.sql(
          "delete from kernel.process where heartbeat_at < clock_timestamp() - make_interval(secs => $1)",
          [silence],
        );
      const until = performance.now() + 150_000;
      const lost = () =>
        receivers.map(({ received }) => {
          const ids = new Set(received.map(({ headers: { "webhook-id": id } }) => id));
          return told.filter(({ id }) => !ids.has(id)).length;
        });
      while (lost().some((count) => count > 0)) {
        assert.ok(performance.now() < until, `not delivered: ${lost()}`);
        await bury();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const calls = receivers.reduce((sum, { received }) => sum + received.length, 0);
      for (const { received } of receivers) {
        const bodies = new Map<string, string>();
        for (const { headers: sent, body } of received) {
          assert.equal(JSON.parse(body).id, sent["webhook-id"]);
          assert.equal(bodies.get(sent["webhook-id"]!) ?? body, body, "a repeat has the same octets");
          bodies.set(sent["webhook-id"]!, body);
        }
        assert.equal(bodies.size, told.length);
      }
      tell(`${told.length} events, ${calls} calls`);
      return { events: told.length, killed, calls, repeats: calls - 3 * told.length, lost: 0 };
    } finally {
      await restarting.catch(() => {});
      await installation.end();
    }
  },
};
