import type { Context } from "#kernel/contract";
import type { Kernel } from "#kernel/kernel";
import type { GuessGuard } from "./guess-guard.ts";

/** By the one part of a kernel that a Context also shows: a test process runs several servers. */
const guards = new WeakMap<Kernel["secrets"], GuessGuard>();

/** Makes the guard of a server known to the operations that lift a lock or compare a password themselves. */
export function keepGuard(kernel: Pick<Kernel, "secrets">, guard: GuessGuard): GuessGuard {
  guards.set(kernel.secrets, guard);
  return guard;
}

/** The guard of the server that serves this call; undefined where nobody logs in at it. */
export function guardOf(ctx: Pick<Context, "secrets">): GuessGuard | undefined {
  return guards.get(ctx.secrets);
}
