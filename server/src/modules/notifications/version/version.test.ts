import assert from "node:assert/strict";
import { test } from "node:test";
import type { Version } from "#kernel/versions";
import { eventually, startServer } from "../../../../test/harness.ts";
import { dueAt, versionJobs } from "./tell.ts";

const sunsetAt = "2028-01-01T00:00:00Z";
const deprecatedAt = "2026-12-01T00:00:00Z";
const v1: Version = { label: "v1", releasedAt: "2026-01-01" };
const v2: Version = { label: "v2", releasedAt: "2026-11-01" };
const list: Version[] = [{ ...v1, deprecatedAt, sunsetAt }, v2];
/** Three releases on one database, one after another. */
const first = await startServer({ versions: [v1] });
const second = await startServer({ versions: [v1, v2], beside: first });
const third = await startServer({ versions: list, beside: first });
let server = first;
const [job] = versionJobs;
const day = 86_400_000;

const user = await server.tenant(server.rootId, "customer", "User of v1");
const idle = await server.tenant(server.rootId, "customer", "Idle");
const keys = new Map<string, string>();
for (const id of [user, idle]) keys.set(id, await server.key(id, ["notification.subscribe"]));

async function tell(at: string | number): Promise<void> {
  server.clock.set(new Date(at));
  await server.kernel.activity.flush();
  await job!.run(server.kernel);
}
async function use(at: string | number): Promise<void> {
  server.clock.set(new Date(at));
  assert.equal((await server.get("/v1/operation", { key: keys.get(user)! })).status, 200);
  await server.kernel.activity.flush();
}
/** What a tenant was told of versions, in words: behind the API, since reading it is a use. */
async function heard(tenantId: string): Promise<string[]> {
  const rows = await server.sql(
    "select type, subject, data from kernel.told where tenant_id = $1 and type like '%.version.%' order by id",
    [tenantId],
  );
  return rows.map(({ type, subject, data }) => `${type.split(".").pop()} ${subject} ${data.daysToSunset ?? ""}`.trim());
}

test("who uses a version hears once of a newer one; who uses none, or a first version alone, hears nothing", async () => {
  await use("2026-11-22T10:00:00Z");
  await tell("2026-11-22T11:00:00Z");
  assert.deepEqual(await heard(user), []);
  server = second;
  await tell("2026-11-23T11:00:00Z");
  await tell("2026-11-24T11:00:00Z");
  assert.deepEqual(await heard(user), ["released v2"]);
  assert.deepEqual(await heard(idle), []);
});

test("who called a version in 90 days hears of its deprecation, and again 90, 30, 7 and 1 days before its sunset, once each", async () => {
  server = third;
  await tell("2026-12-01T00:00:00Z");
  const end = Date.parse(sunsetAt);
  for (const days of [120, 91, 89.9, 89, 31, 29.5, 8, 6.9, 3, 0.9, 0.5]) {
    await use(end - days * day);
    await tell(end - days * day);
    await tell(end - days * day + 1);
  }
  const told = await heard(user);
  assert.deepEqual(told.slice(1), [
    "deprecated v1 396",
    "deprecated v1 90",
    "deprecated v1 30",
    "deprecated v1 7",
    "deprecated v1 1",
  ]);
  assert.deepEqual(await heard(idle), []);
});

test("of notices that came due while no server ran the last is told alone; the end is told once, to who was there in its last 90 days", async () => {
  const late = await server.tenant(server.rootId, "customer", "Late");
  keys.set(late, await server.key(late, ["notification.subscribe"]));
  server.clock.set(new Date(Date.parse(sunsetAt) - 0.4 * day));
  await server.get("/v1/operation", { key: keys.get(late)! });
  await tell(Date.parse(sunsetAt) - 0.4 * day);
  assert.deepEqual(await heard(late), ["released v2", "deprecated v1 1"]);
  await tell(sunsetAt);
  await tell(Date.parse(sunsetAt) + day);
  assert.equal((await heard(user)).at(-1), "retired v1 0");
  assert.deepEqual(await heard(late), ["released v2", "deprecated v1 1", "retired v1 0"]);
});

test("VE-3. webhooks of a version that has ended are disabled, those of others go on; until then they are a use of it", async () => {
  const webhook = async (id: string, apiVersion: string) => {
    const key = await first.key(id, ["webhook.manage", "webhook.read", "user.read", "notification.subscribe"]);
    const body = { url: "http://127.0.0.1:9/hook", types: ["demarc.directory.user.*"], apiVersion };
    const made = await third.post("/v2/webhook", body, { key });
    assert.equal(made.status, 201, made.text);
    return async () => (await third.get(`/v2/webhook/${made.body.id}`, { key })).body;
  };
  const sent = await first.tenant(first.rootId, "customer", "Sent v1");
  await tell(Date.parse(sunsetAt) - 0.3 * day);
  const [old, now] = [await webhook(sent, "v1"), await webhook(sent, "v2")];
  await tell(Date.parse(sunsetAt) - 0.2 * day);
  assert.deepEqual((await heard(sent)).at(-1), "deprecated v1 1");
  await tell(sunsetAt);
  assert.deepEqual([(await old()).status, (await old()).disabledReason], ["disabled", "version_retired"]);
  assert.equal((await now()).status, "active");
  assert.deepEqual((await heard(sent)).at(-1), "retired v1 0");
});

test("the news are events of the tenant, with the version as listVersions shows it", async () => {
  const items = async () =>
    (await server.get("/v2/event-log?types=demarc.notifications.version.*", { key: keys.get(user)! })).body.items;
  const news = await eventually(async () => (await items()).length >= 7 && items());
  const [released, deprecated, reminder] = news;
  assert.equal(released.data.resource.label, "v2");
  assert.deepEqual(deprecated.data.previous, { status: "ga", deprecatedAt: null, sunsetAt: null, successor: null });
  assert.deepEqual(deprecated.data.changed, ["status", "deprecatedAt", "sunsetAt", "successor"]);
  assert.deepEqual([reminder.data.resource.successor, reminder.data.changed], ["v2", []]);
  assert.deepEqual(
    [news.at(-1).data.resource.status, news.at(-1).data.previous],
    ["retired", { status: "deprecated" }],
  );
});

test("two servers that tell at once tell each tenant once", async () => {
  const beside = await startServer({ versions: list, beside: first });
  beside.clock.set(new Date(Date.parse(sunsetAt) + day));
  await server.sql("delete from kernel.version_notice");
  const before = (await heard(user)).length;
  await Promise.all([server, beside].map(({ kernel }) => job!.run(kernel)));
  assert.equal((await heard(user)).length, before + 2);
});

test("what is due depends on the dates alone", () => {
  const due = (at: string) => dueAt(list, new Date(at)).flatMap(({ notices }) => notices.map(({ notice }) => notice));
  assert.deepEqual(due("2026-12-01T00:00:00Z"), ["released", "deprecated"]);
  assert.deepEqual(due("2027-10-03T00:00:00Z"), ["released", "deprecated", "90"]);
  assert.deepEqual(due(sunsetAt), ["released", "deprecated", "90", "30", "7", "1", "retired"]);
});
