/**
 * The arithmetic of throttling (access.md, section 6), without any store: token bucket, local day, blocks of the day's
 * count, and the header values. Monotonic and wall-clock time come in as arguments.
 */
import { LRUCache } from "lru-cache";
import type { Lane } from "./principal.ts";

/** Level of a bucket that one call takes; levels are whole thousandths of a call. */
export const CALL = 1000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export type Rate = { ratePerSecond: number; burst: number };

/** `level` in thousandths of a call as of `atMs`, a monotonic time in whole milliseconds. */
export type Bucket = { rate: Rate; level: number; atMs: number };

/** A full bucket. */
export function newBucket(rate: Rate, nowMs: number): Bucket {
  return { rate, level: rate.burst * CALL, atMs: Math.floor(nowMs) };
}

/**
 * Adds what flowed in since the last look: `ratePerSecond` thousandths per millisecond, up to `burst`. A step backwards
 * adds nothing and time goes on from there: kept at the highest time seen, a corrected clock would stop the inflow.
 */
export function refillBucket(bucket: Bucket, nowMs: number): void {
  const atMs = Math.floor(nowMs);
  const elapsedMs = atMs - bucket.atMs;
  bucket.atMs = atMs;
  if (elapsedMs > 0) {
    bucket.level = Math.min(bucket.rate.burst * CALL, bucket.level + elapsedMs * bucket.rate.ratePerSecond);
  }
}

/** Takes one call out of a bucket in which `findExcess` found no fault. */
export function chargeBucket(bucket: Bucket): void {
  bucket.level -= CALL;
}

/** Puts a bucket under a changed plan: what flowed in so far counts at the old rate, the level stays, capped. */
export function changeRate(bucket: Bucket, rate: Rate, nowMs: number): void {
  refillBucket(bucket, nowMs);
  bucket.rate = rate;
  bucket.level = Math.min(bucket.level, rate.burst * CALL);
}

/** What one call meets: its lane's bucket, the day (null: no limit), and the bucket of the route itself, as of ping. */
export type Reading = {
  burst: { rate: Rate; level: number };
  day: { left: number; resetSeconds: number } | null;
  own: { name: string; rate: Rate; level: number } | null;
};

/** Why a call is refused. `violated` names items of the `RateLimit` header, for the member `violated-policies`. */
export type Excess = { code: "rate_limited" | "quota_exceeded"; violated: string[]; retryAfterSeconds: number };

/** Judges a call by all its limits before any of them is charged; null: there is room in each. */
export function findExcess({ burst, day, own }: Reading): Excess | null {
  const dayIsSpent = day !== null && day.left < 1;
  if (burst.level >= CALL && !dayIsSpent && (own === null || own.level >= CALL)) return null;
  const violated: string[] = [];
  let retryAfterSeconds = 1;
  if (burst.level < CALL) {
    violated.push("burst");
    retryAfterSeconds = Math.max(retryAfterSeconds, secondsUntilCall(burst));
  }
  if (dayIsSpent) {
    violated.push("day");
    retryAfterSeconds = Math.max(retryAfterSeconds, day.resetSeconds);
  }
  if (own !== null && own.level < CALL) {
    violated.push(own.name);
    retryAfterSeconds = Math.max(retryAfterSeconds, secondsUntilCall(own));
  }
  return { code: dayIsSpent ? "quota_exceeded" : "rate_limited", violated, retryAfterSeconds };
}

/** Whole seconds until a bucket admits a call, at least 1: the `Retry-After` of a bucket that stands alone. */
export function secondsUntilCall({ rate, level }: { rate: Rate; level: number }): number {
  return Math.max(1, Math.ceil((CALL - level) / (rate.ratePerSecond * 1000)));
}

/** `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11) of a lane, and of the route's own bucket if it has one. */
export function rateLimitPolicy(lane: Lane, own: ({ name: string } & Rate) | null = null): string {
  let value = policyItem("burst", lane);
  if (lane.perDay !== null) value += `, "day";q=${lane.perDay};w=86400`;
  if (own !== null) value += `, ${policyItem(own.name, own)}`;
  return value;
}

function policyItem(name: string, { ratePerSecond, burst }: Rate): string {
  return `"${name}";q=${burst};w=${Math.ceil(burst / ratePerSecond)}`;
}

/**
 * `RateLimit` after a call: `r` whole calls left, `t` seconds until more. On a refusal (`violated` as found by
 * `findExcess`) only the violated items carry `t`, so that a client does not wait for the day because of a burst.
 */
export function rateLimit({ burst, day, own }: Reading, violated: readonly string[] | null = null): string {
  let value = bucketItem("burst", burst, violated);
  if (day !== null) {
    value += `, "day";r=${Math.max(0, day.left)}`;
    if (violated === null || violated.includes("day")) value += `;t=${day.resetSeconds}`;
  }
  if (own !== null) value += `, ${bucketItem(own.name, own, violated)}`;
  return value;
}

function bucketItem(name: string, { rate, level }: Reading["burst"], violated: readonly string[] | null): string {
  const item = `"${name}";r=${Math.floor(level / CALL)}`;
  const showsTime = violated === null ? level < rate.burst * CALL : violated.includes(name);
  return showsTime ? `${item};t=1` : item;
}

/**
 * How many calls a process draws at once from a day's count of which `drawn` are gone: 1/200 of the day within 1..50;
 * single calls once fewer than 8 blocks are left, so that no process sits on the last ones; 0 when the day is spent.
 */
export function dayBlock(perDay: number, drawn: number): number {
  const left = perDay - drawn;
  const block = Math.min(50, Math.max(1, Math.floor(perDay / 200)));
  return left < 8 * block ? Math.max(0, Math.min(1, left)) : block;
}

/** A calendar day of a time zone: `startsAtMs` is its first instant, `endsAtMs` the first instant of the next one. */
export type LocalDay = { date: string; startsAtMs: number; endsAtMs: number };

type Zone = { format: Intl.DateTimeFormat; day: LocalDay };
// A formatter takes some 50 kB of ICU's memory, so not every zone of the world is kept.
const zones = new LRUCache<string, Zone>({ max: 128 });

/**
 * The local calendar day that an instant (Unix milliseconds) belongs to; 23 to 25 hours long where clocks change, and
 * more or none where a zone changed its side of the date line. If clocks go back over midnight, the new day has begun and
 * goes on. Cheap while the day lasts.
 * @throws RangeError for a name that is no time zone.
 */
export function localDay(timeZone: string, instantMs: number): LocalDay {
  const known = zones.get(timeZone);
  if (known !== undefined && instantMs >= known.day.startsAtMs && instantMs < known.day.endsAtMs) return known.day;
  const format = known?.format ?? newFormat(timeZone);
  let midnight = Math.floor((instantMs + offsetMs(format, instantMs)) / DAY_MS) * DAY_MS;
  let endsAtMs = firstInstant(format, midnight + DAY_MS);
  while (endsAtMs <= instantMs) {
    midnight += DAY_MS;
    endsAtMs = firstInstant(format, midnight + DAY_MS);
  }
  const day = { date: dateOf(midnight), startsAtMs: firstInstant(format, midnight), endsAtMs };
  zones.set(timeZone, { format, day });
  return day;
}

/**
 * The running day after its tenant's time zone has changed: the same date and so the same count, until that date is over
 * in both zones. Ended earlier, the new zone would enter the date a second time.
 */
export function carryDay(running: LocalDay, newTimeZone: string): LocalDay {
  const format = zones.get(newTimeZone)?.format ?? newFormat(newTimeZone);
  const endInNewZoneMs = firstInstant(format, Date.parse(running.date) + DAY_MS);
  return { ...running, endsAtMs: Math.max(running.endsAtMs, endInNewZoneMs) };
}

/** Whole seconds, rounded up, until a day ends; at least 1. */
export function secondsUntilReset(day: LocalDay, nowMs: number): number {
  return Math.max(1, Math.ceil((day.endsAtMs - nowMs) / 1000));
}

function newFormat(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
}

/** Local time minus UTC. Zones before about 1970 have offsets with odd seconds, hence not `timeZoneName`. */
function offsetMs(format: Intl.DateTimeFormat, instantMs: number): number {
  const second = Math.floor(instantMs / 1000) * 1000;
  const parts: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(second)) parts[type] = Number(value);
  return Date.UTC(parts.year!, parts.month! - 1, parts.day!, parts.hour, parts.minute, parts.second) - second;
}

/**
 * The first instant at which the local date is the given one or later; `midnight` is that date's 00:00 read as if it were
 * UTC. No offset exceeds 16 hours, so the search starts that much earlier. While the offset stays, the local clock only
 * rises, so each such stretch has one candidate.
 */
function firstInstant(format: Intl.DateTimeFormat, midnight: number): number {
  let fromMs = midnight - 16 * HOUR_MS;
  for (;;) {
    const offset = offsetMs(format, fromMs);
    const toMs = endOfOffset(format, fromMs, offset);
    const candidateMs = Math.max(fromMs, midnight - offset);
    if (candidateMs < toMs) return candidateMs;
    fromMs = toMs;
  }
}

/** Until when an offset found at `fromMs` holds, looking ahead two hours; changes happen on whole seconds. */
function endOfOffset(format: Intl.DateTimeFormat, fromMs: number, offset: number): number {
  let after = fromMs + 2 * HOUR_MS;
  if (offsetMs(format, after) === offset) return after;
  let before = fromMs;
  while (after - before > 1000) {
    const middle = before + Math.floor((after - before) / 2000) * 1000;
    if (offsetMs(format, middle) === offset) before = middle;
    else after = middle;
  }
  return after;
}

function dateOf(midnight: number): string {
  return new Date(midnight).toISOString().slice(0, 10);
}
