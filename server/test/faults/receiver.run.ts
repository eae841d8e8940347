import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { verifyWebhook } from "../../../sdk/verify-webhook.ts";
import { emptyFolder, endListeners, type Listener, startListener } from "../listener.ts";
import { startReceiver } from "../receiver.ts";
import type { FaultRun } from "./fault-run.ts";
import { startInstallation } from "./installation.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const inOrder = (ids: readonly string[]) => [...new Set(ids)];

type Form = { name: string; args: string[] };

/** A receiver that is killed and started again; what it printed in all its runs. */
function keepAlive({ name, args }: Form, env: Record<string, string>) {
  const cwd = emptyFolder();
  const runs: Listener[] = [];
  const start = () => void runs.push(startListener(args, { cwd, env }));
  start();
  return {
    name,
    async kill(): Promise<void> {
      await runs.at(-1)!.end("SIGKILL");
      start();
    },
    ids: (): string[] => runs.flatMap((run) => run.events().map(({ id }) => id as string)),
    reconnects: () => runs.reduce((sum, run) => sum + (run.said().match(/Again in [\d.]+ s\.$/gm)?.length ?? 0), 0),
    said: () => runs.map((run) => run.said()).join("\n"),
    /** Ends it well; its exit code. */
    end: () => runs.at(-1)!.end("SIGTERM"),
  };
}

export const faultRun: FaultRun = {
  about:
    "RC-1. receivers of every kind are killed, so is the server, tokens live 5 s, a local receiver fails: every event is printed and forwarded, in order",
  counts: {
    changes: { about: "changes", short: 40, long: 3_000 },
    kills: { about: "SIGKILLs of each receiver", short: 1, long: 20 },
    restarts: { about: "SIGKILLs of the server", short: 1, long: 5 },
    lasting: { about: "seconds for which changes go on, at least", short: 3, long: 60 },
    failing: { about: "seconds in which the local receiver answers 500", short: 1, long: 10 },
  },
  async run({ changes = 1, kills = 1, restarts = 1, lasting = 1, failing = 1 }, tell) {
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    let failsUntil = Number.POSITIVE_INFINITY;
    const taken: string[] = [];
    const local = await startReceiver(({ headers, body }, response) => {
      // Throws, and leaves the call unanswered, where a signature does not verify.
      const { id } = verifyWebhook(headers, body, secret) as { id: string };
      assert.equal(id, headers["webhook-id"]);
      const isUp = performance.now() >= failsUntil;
      if (isUp) taken.push(id);
      response.writeHead(isUp ? 204 : 500).end();
    });
    const installation = await startInstallation(1);
    const { call } = installation;
    const at = () => installation.servers[0]!;
    try {
      const tenant = (await call(at(), "POST", "/v1/tenant", { body: { name: "Alpha", kind: "customer" } })).body.id;
      const ask = { headers: { "demarc-tenant": tenant as string } };
      const client = await call(at(), "POST", "/v1/client", {
        ...ask,
        body: { kind: "service", name: "receiver", roles: [{ roleId: "tenant_administrator" }] },
      });
      assert.equal(client.status, 201, client.text);
      await installation.sql("update access.client set access_token_seconds = 5 where id = $1", [client.body.id]);
      const env = {
        DEMARC_URL: at().url,
        DEMARC_CLIENT_ID: client.body.id,
        DEMARC_CLIENT_SECRET: client.body.secret,
      };
      const start = ["--from", "start"];
      const receivers = [
        { name: "stomp", args: start },
        { name: "stream", args: ["--transport", "stream", ...start] },
        { name: "poll", args: ["--transport", "poll", ...start] },
        { name: "durable", args: ["--durable", "billing", ...start] },
        { name: "forward", args: ["--forward", local.url, "--secret", secret, ...start] },
      ].map((form) => keepAlive(form, env));
      const begun = performance.now();
      failsUntil = begun + failing * 1_000;

      const person = { username: "u", fullname: "0", email: "u@x.example", defaultOrgUnitExternalId: "ROOT" };
      const user = await call(at(), "POST", "/v1/user", { ...ask, body: person });
      let [restarted, killed] = [0, 0];
      let restarting: Promise<void> = Promise.resolve();
      const killing: Promise<void>[] = [];
      for (let done = 0; done < changes; ) {
        const body = { fullname: `name ${done}` };
        const answer = await call(at(), "PATCH", `/v1/user/${user.body.id}`, { ...ask, body }).catch(() => null);
        if (answer?.status !== 200) {
          await pause(20);
          continue;
        }
        done++;
        await pause(Math.max(0, begun + (lasting * 1_000 * done) / changes - performance.now()));
        if (restarted < restarts && done >= ((restarted + 0.5) * changes) / restarts) {
          restarted++;
          restarting = installation.restart(0);
        }
        const due = receivers.length * kills;
        // One after the other, at places that have nothing to do with those of the server's.
        if (killed < due && done >= ((killed + Math.random()) * changes) / due)
          killing.push(receivers[killed++ % receivers.length]!.kill());
        if (done % 500 === 0) tell(`${done} changes, ${restarted} restarts, ${killed} kills`);
      }
      await restarting;
      await Promise.all(killing);
      while ((await installation.sql("select 1 from kernel.outbox limit 1")).length > 0) await pause(20);
      const told = await installation.sql("select id from kernel.event where tenant_id = $1 order by sequence", [
        tenant,
      ]);
      const wanted = told.map(({ id }) => id as string);
      assert.ok(wanted.length > changes);
      const until = performance.now() + 90_000;
      const lost = () => {
        const missing = (ids: readonly string[]) => wanted.length - new Set(ids).size;
        return { ...Object.fromEntries(receivers.map((one) => [one.name, missing(one.ids())])), local: missing(taken) };
      };
      while (Object.values(lost()).some((count) => count > 0)) {
        assert.ok(
          performance.now() < until,
          `not heard: ${JSON.stringify(lost())}\n${receivers.map((one) => one.said())}`,
        );
        await pause(500);
      }
      const repeats: Record<string, number> = {};
      for (const one of receivers) {
        assert.deepEqual(inOrder(one.ids()), wanted, one.name);
        repeats[one.name] = one.ids().length - wanted.length;
        // At a crash the last event may come twice. (What was acknowledged in the second before both sides were killed
        // may come again to a durable, whose ids are in memory.)
        if (one.name !== "durable")
          assert.ok(repeats[one.name]! <= kills, `${one.name} printed ${repeats[one.name]} twice`);
        assert.equal(await one.end(), 0, one.name);
      }
      assert.deepEqual(inOrder(taken), wanted, "forwarded");
      return {
        events: wanted.length,
        killed,
        restarted,
        reconnects: receivers.map((one) => `${one.name} ${one.reconnects()}`).join(", "),
        repeats: JSON.stringify(repeats),
        lost: 0,
      };
    } finally {
      local.close();
      await endListeners();
      await installation.end();
    }
  },
};
