/** The arithmetic of the benchmark: rounds of several contenders in turns, and their medians. */
import type { Loaded } from "./load.ts";
import { type CpuUse, cpuOfTree } from "./machine.ts";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which `share` of sorted values lie (nearest rank). */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!;
}

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}

/** One of those that take turns. `pids`: the process that serves, and the database's first process. */
export type Contender = {
  name: string;
  pids: { server: number; database: number };
  before?(): Promise<void>;
  after?(): Promise<void>;
  load(seconds: number): Promise<Loaded>;
};
type Round = {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpu: { server: number; database: number; client: number };
};
export type Score = {
  name: string;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** CPU time in microseconds a request; null where the system does not tell. */
  cpuUs: { server: number; database: number; client: number } | null;
  /** Rate as a share of the first contender's, in the same round; the median over the rounds. */
  ofFirst: number;
  rounds: number[];
};

/** Lets contenders take turns, so that the machine's neighbours slow them all alike. The first is what others are measured by. */
export async function compare(contenders: readonly Contender[], rounds: number, seconds: number): Promise<Score[]> {
  for (const contender of contenders) await turn(contender, Math.min(2, seconds));
  const results: Round[][] = [];
  for (let round = 0; round < rounds; round++) {
    const row: Round[] = [];
    for (const contender of contenders) row.push(await turn(contender, seconds));
    results.push(row);
  }
  return contenders.map(({ name }, index) => {
    const own = results.map((row) => row[index]!);
    const of = (pick: (round: Round) => number, digits?: number) => rounded(median(own.map(pick)), digits);
    return {
      name,
      perSecond: of((round) => round.perSecond, 0),
      p50Ms: of((round) => round.p50Ms),
      p99Ms: of((round) => round.p99Ms),
      cpuUs: Number.isNaN(own[0]!.cpu.server)
        ? null
        : {
            server: of((round) => round.cpu.server, 0),
            database: of((round) => round.cpu.database, 0),
            client: of((round) => round.cpu.client, 0),
          },
      ofFirst: rounded(median(results.map((row) => row[index]!.perSecond / row[0]!.perSecond))),
      rounds: own.map((round) => Math.round(round.perSecond)),
    };
  });
}

async function turn(contender: Contender, seconds: number): Promise<Round> {
  await contender.before?.();
  try {
    const before = use(contender);
    const { perSecond, latenciesMs } = await contender.load(seconds);
    const after = use(contender);
    const each = (pick: (use: Record<"server" | "database" | "client", CpuUse>) => CpuUse) =>
      ((pick(after) - pick(before)) * 1e6) / latenciesMs.length;
    return {
      perSecond,
      p50Ms: quantile(latenciesMs, 0.5),
      p99Ms: quantile(latenciesMs, 0.99),
      cpu: { server: each((u) => u.server), database: each((u) => u.database), client: each((u) => u.client) },
    };
  } finally {
    await contender.after?.();
  }
}

function use({ pids }: Contender): Record<"server" | "database" | "client", CpuUse> {
  const { user, system } = process.cpuUsage();
  return { server: cpuOfTree(pids.server, false), database: cpuOfTree(pids.database), client: (user + system) / 1e6 };
}
