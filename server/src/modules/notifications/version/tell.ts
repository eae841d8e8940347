/**
 * Tells tenants of the versions that they use (notifications, part E): once that a newer one is there, that theirs was
 * deprecated, again 90, 30, 7 and 1 days before its sunset, and that it has ended.
 */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import type { JobKind } from "#kernel/jobs";
import type { Kernel } from "#kernel/kernel";
import { numberOf, statusAt, type Version } from "#kernel/versions";
import { disableOfVersion } from "../webhook/delivery-kind.ts";
import { type SunsetNews, versionDeprecated, versionReleased, versionRetired } from "./events.ts";

const dayMs = 86_400_000;
/** Who called within so many days uses a version. */
const useDays = 90;
const reminders = [90, 30, 7, 1];

type Notice = { version: Version; notice: string; kind: EventKind<SunsetNews> };
/** What is due to whoever uses `users`, in the order in which it came to be due. */
type Due = { users: readonly string[]; notices: Notice[] };

export const versionJobs: readonly JobKind[] = [
  {
    name: "tell_versions",
    summary:
      "Tells tenants of the versions that they call: of newer ones, of their end in good time; disables webhooks of those that have ended.",
    cron: "13 * * * *",
    async run(kernel) {
      await noteUse(kernel);
      for (const due of dueAt(kernel.versions.list, kernel.now())) await tellUsers(kernel, due);
      for (const version of kernel.versions.list)
        if (statusAt(version, kernel.now()) === "retired") await disableOfVersion(kernel, version.label);
    },
  },
];

/**
 * Takes from the activity log who called which version since this was done last (lines may come in an hour late), and
 * from the webhooks who is sent one.
 */
async function noteUse({ system, now }: Kernel): Promise<void> {
  const forgotten = new Date(now().getTime() - 2 * useDays * dayMs);
  await system.in("").run(
    query(sql`insert into kernel.version_use as u (tenant_id, version, used_at)
      select tenant_id, version, max(at) from access.activity
      where at > (select coalesce(max(used_at), '-infinity') - interval '1 hour' from kernel.version_use)
        and version is not null and actor is not null
      group by tenant_id, version
      on conflict (tenant_id, version) do update set used_at = greatest(u.used_at, excluded.used_at)`),
  );
  await system.in("").run(
    query(sql`insert into kernel.version_use as u (tenant_id, version, used_at)
      select distinct tenant_id, api_version, ${now()}::timestamptz from notifications.webhook where status <> 'disabled'
      on conflict (tenant_id, version) do update set used_at = greatest(u.used_at, excluded.used_at)`),
  );
  await system.in("").run(query(sql`delete from kernel.version_use where used_at < ${forgotten}`));
}

/** Everything that there is to tell at an instant, whoever has heard it already: first what is new, then what ends. */
export function dueAt(list: readonly Version[], now: Date): Due[] {
  const news = list.flatMap((version): Due[] => {
    const older = list.filter(({ label }) => numberOf(label) < numberOf(version.label)).map(({ label }) => label);
    if (older.length === 0 || version.deprecatedAt) return [];
    return [{ users: older, notices: [{ version, notice: "released", kind: versionReleased }] }];
  });
  const ends = list.flatMap((version): Due[] => {
    const notices = endingAt(version, now);
    return notices.length > 0 ? [{ users: [version.label], notices }] : [];
  });
  return [...news, ...ends];
}

function endingAt(version: Version, now: Date): Notice[] {
  if (!version.deprecatedAt) return [];
  const leftMs = version.sunsetAt ? Date.parse(version.sunsetAt) - now.getTime() : Infinity;
  const due = ["deprecated", ...reminders.filter((days) => leftMs <= days * dayMs).map(String)];
  const notices = due.map((notice) => ({ version, notice, kind: versionDeprecated }));
  return leftMs <= 0 ? [...notices, { version, notice: "retired", kind: versionRetired }] : notices;
}

/** Use counts until the end: whoever had stopped 90 days before it need not hear of it. */
async function tellUsers(kernel: Kernel, { users, notices }: Due): Promise<void> {
  const { version } = notices[0]!;
  const last = notices.at(-1)!.notice;
  const until = Math.min(kernel.now().getTime(), version.sunsetAt ? Date.parse(version.sunsetAt) : Infinity);
  const since = new Date(until - useDays * dayMs);
  const unaware = await kernel.system.in("").rows(
    query<{ tenant_id: string }>(sql`select distinct u.tenant_id from kernel.version_use u
      where u.version = any(${users}) and u.used_at > ${since} and not exists (
        select from kernel.version_notice n
        where n.tenant_id = u.tenant_id and n.version = ${version.label} and n.notice = ${last})
      order by 1`),
  );
  for (const { tenant_id } of unaware) {
    const card = await kernel.gate.tenant(tenant_id);
    if (card) await inTransaction(kernel, systemCaller(kernel, card, "tell_versions"), (ctx) => tell(ctx, notices));
  }
}

/** Of several that are due at once the last is told, and all of them count as told. */
async function tell(ctx: Context, notices: Notice[]): Promise<void> {
  const { version, notice, kind } = notices.at(-1)!;
  const tenantId = ctx.who.acting.id;
  const rows = sql.join(
    notices.map((one) => sql`(${tenantId}, ${version.label}, ${one.notice}, ${ctx.now}::timestamptz)`),
  );
  const told = await ctx.db.rows(
    query<{ notice: string }>(sql`insert into kernel.version_notice (tenant_id, version, notice, told_at) values ${rows}
      on conflict do nothing returning notice`),
  );
  if (!told.some((one) => one.notice === notice)) return;
  const resource = ctx.documents.versions().find(({ label }) => label === version.label)!;
  const sunsetMs = version.sunsetAt ? Date.parse(version.sunsetAt) - ctx.now.getTime() : null;
  ctx.emit(kind, {
    tenantId,
    subject: version.label,
    path: "/version",
    resource,
    ...changeOf(notice),
    adds: { daysToSunset: sunsetMs === null ? null : Math.max(0, Math.ceil(sunsetMs / dayMs)) },
  });
}

/** What a notice says has changed; a reminder says it of nothing. */
function changeOf(notice: string): { previous: object | null; changed: string[] } {
  if (notice === "deprecated") {
    const previous = { status: "ga", deprecatedAt: null, sunsetAt: null, successor: null };
    return { previous, changed: Object.keys(previous) };
  }
  if (notice === "retired") return { previous: { status: "deprecated" }, changed: ["status", "documents"] };
  return { previous: null, changed: [] };
}
