/** Token buckets in Redis or Valkey: one script a call, the server's clock, keys that expire once the bucket is full. */
import { createClient, defineScript } from "@redis/client";
import type { NamedBucket } from "./bucket-store.ts";

// A bucket is `level atMs rate burst`. A changed rate keeps the level, capped, and what flowed in before counts at the old one.
const takeCalls = defineScript({
  SCRIPT: `
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local room = ARGV[2] == '1'
local levels = {}
for i, key in ipairs(KEYS) do
  local full = ARGV[2 * i + 2] * 1000
  local level = full
  local kept = redis.call('GET', key)
  if kept then
    local was, at, rate, burst = string.match(kept, '^(%d+) (%d+) (%d+) (%d+)$')
    level = math.min(was + math.max(0, now - at) * rate, burst * 1000, full)
  end
  levels[i] = level
  if level < 1000 then room = false end
end
for i, key in ipairs(KEYS) do
  local rate, burst = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local level = levels[i]
  if room then level = level - 1000 end
  local fullInMs = math.ceil((burst * 1000 - level) / rate)
  redis.call('SET', key, string.format('%.0f %.0f %s %s', level, now, rate, burst), 'PX', fullInMs + 60000)
end
return levels`,
  parseCommand(parser, buckets: readonly NamedBucket[], charge: boolean, clockMs: number | null) {
    parser.pushKeysLength(buckets.map(({ name }) => `demarc:lim:${name}`));
    parser.push(clockMs === null ? "" : String(clockMs), charge ? "1" : "0");
    for (const { rate } of buckets) parser.push(String(rate.ratePerSecond), String(rate.burst));
  },
  transformReply: (reply: unknown) => reply as number[],
});

export type RedisBuckets = {
  take(buckets: readonly NamedBucket[], charge: boolean): Promise<readonly number[]>;
  stop(): void;
};

/** Connects in the background, again and again: while it is away every call fails at once. */
export function openRedisBuckets(url: string, clockMs: () => number | null = () => null): RedisBuckets {
  const client = createClient({
    url,
    scripts: { takeCalls },
    disableOfflineQueue: true,
    socket: { connectTimeout: 2_000, reconnectStrategy: (tries: number) => Math.min(50 * 2 ** tries, 1_000) },
  });
  // Who asks and gets no answer says so; told here too, each try to connect would be a line of the log.
  client.on("error", () => {});
  client.connect().catch(() => {});
  return {
    take: async (buckets, charge) => client.takeCalls(buckets, charge, clockMs()),
    stop: () => client.destroy(),
  };
}
