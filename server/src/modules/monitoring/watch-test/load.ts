import type { OperationPlace } from "#kernel/operations";

const mostPerTenant = 10;
const spacingMs = 10_000;

/** When the last test of an address began, for as long as that keeps the next one waiting. */
const lastStarts = new Map<string, number>();

type Place = OperationPlace<{ address: string }>;

/** Whether a device and a tenant bear one more test now (monitoring, 4.5). The limits are those of one server process. */
export function admitsTest(candidate: Place, running: readonly OperationPlace[], now: Date): boolean {
  const tests = running.filter(({ kind }) => kind === candidate.kind) as Place[];
  if (tests.filter(({ tenantId }) => tenantId === candidate.tenantId).length >= mostPerTenant) return false;
  const { address } = candidate.input;
  return !tests.some(({ input }) => input.address === address) && !startedLately(address, now);
}

function startedLately(address: string, now: Date): boolean {
  const sinceMs = now.getTime() - (lastStarts.get(address) ?? Number.NEGATIVE_INFINITY);
  // A clock that was set back must not hold a device up.
  return sinceMs >= 0 && sinceMs < spacingMs;
}

/** Notes that a test of an address begins. */
export function noteStart(address: string, now: Date): void {
  for (const known of lastStarts.keys()) if (!startedLately(known, now)) lastStarts.delete(known);
  lastStarts.set(address, now.getTime());
}
