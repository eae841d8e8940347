import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { makeUser } from "../tokens.ts";
import type { FaultRun } from "./fault-run.ts";
import { startInstallation } from "./installation.ts";

/** Failures of a name lock it at 50 an hour: each kind of try has names enough. */
const triesPerName = 40;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function shuffled<T>(values: readonly T[]): T[] {
  const left = [...values];
  return values.map(() => left.splice(randomInt(left.length), 1)[0]!);
}

export const faultRun: FaultRun = {
  about: "36. log-ins that are refused, in turns: neither words nor time tell who exists",
  counts: {
    tries: { about: "tries of each kind", short: 10, long: 200 },
    // A refusal without a hash takes a tenth of the time.
    percent: { about: "how far the medians may be apart, in percent of the longest", short: 50, long: 10 },
  },
  async run({ tries = 1, percent = 0 }, tell) {
    const installation = await startInstallation(1, { DEMARC_TRUSTED_PROXIES: "127.0.0.0/8" });
    const { servers, call, sql } = installation;
    try {
      const behind = { sql, clock: { now: () => new Date() } };
      const [a, b] = await Promise.all(
        ["A", "B"].map(async (name) => {
          const made = await call(servers[0]!, "POST", "/v1/tenant", { body: { name, kind: "customer" } });
          assert.equal(made.status, 201, made.text);
          return made.body as { id: string; code: string };
        }),
      );
      const names = Array.from({ length: Math.ceil(tries / triesPerName) }, (_, index) => index);
      const right = new Map<string, string>();
      for (const index of names) {
        await makeUser(behind, a!.id, `known-${index}`);
        right.set(`twin-${index}`, (await makeUser(behind, a!.id, `twin-${index}`)).password);
        await makeUser(behind, b!.id, `twin-${index}`);
        const { id } = await makeUser(behind, a!.id, `blocked-${index}`);
        await sql("update access.login set blocked_at = now() where user_id = $1", [id]);
      }
      const kinds: Record<string, (name: number) => string> = {
        "wrong password": (name) => `known-${name}`,
        "unknown name": (name) => `nobody-${name}`,
        "name of two tenants": (name) => `twin-${name}`,
        "unknown tenant": (name) => `nowhere-0000/known-${name}`,
        blocked: (name) => `blocked-${name}`,
      };
      const taken = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
      const words = new Set<string>();
      let address = 0;
      for (let turn = -3; turn < tries; turn++) {
        for (const kind of shuffled(Object.keys(kinds))) {
          const userName = kinds[kind]!(Math.max(0, turn) % names.length);
          address++;
          const startedMs = performance.now();
          const reply = await call(servers[0]!, "POST", "/oauth/token", {
            body: { userName, password: right.get(userName) ?? "not the password" },
            headers: { "x-forwarded-for": `10.${address >> 16}.${(address >> 8) & 255}.${address & 255}` },
          });
          const tookMs = performance.now() - startedMs;
          assert.equal(reply.status, 400, reply.text);
          words.add(JSON.stringify({ ...reply.body, requestId: "" }));
          // The first turns are for warming up.
          if (turn >= 0) taken.get(kind)!.push(tookMs);
        }
        if (turn > 0 && turn % 50 === 0) tell(`${turn} tries of each kind`);
      }
      assert.equal(words.size, 1, [...words].join("\n"));
      assert.match([...words][0]!, /invalid_grant.*tenant\/username/);
      const medians = [...taken].map(([kind, values]) => [kind, median(values)] as const);
      const [least, most] = [Math.min, Math.max].map((pick) => pick(...medians.map(([, value]) => value)));
      const apart = (1 - least! / most!) * 100;
      const shown = Object.fromEntries(medians.map(([kind, value]) => [`${kind}, ms`, value.toFixed(2)]));
      assert.ok(apart <= percent, `${apart.toFixed(1)} % apart: ${JSON.stringify(shown)}`);
      const logIn = { userName: `${a!.code}/twin-0`, password: right.get("twin-0") };
      const qualified = await call(servers[0]!, "POST", "/oauth/token", { body: logIn });
      // The password is right; that the tenant has the grant switched off is told after that alone.
      assert.equal(qualified.body.code, "password_grant_disabled", qualified.text);
      return { ...shown, percentApart: apart.toFixed(1) };
    } finally {
      await installation.end();
    }
  },
};
