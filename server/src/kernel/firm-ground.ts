/**
 * A tenant that is moved away, or purged, in the middle of a call takes its rows out of sight, and the call stumbles over
 * what it has just seen. Nothing of it stays: the database refuses its records too. So it is made again, and then says
 * what is there now.
 */
import { sql } from "kysely";
import { hot, query } from "./db.ts";
import type { Kernel } from "./kernel.ts";
import type { Principal } from "./principal.ts";
import { notFound, Problem, refuse } from "./problem.ts";

const mostTries = 4;
const readGeneration = hot<object, { value: number }>("generation_now", () =>
  query(sql`select value from kernel.generation`),
);

/**
 * Runs `part`, which must bear repetition; again where it failed unexpectedly while something was taken away. Refuses with
 * 404 once the acting tenant is out of the caller's reach.
 */
export async function onFirmGround<T>(
  kernel: Pick<Kernel, "gate" | "processes" | "system">,
  who: Principal,
  part: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const before = kernel.processes.generation();
    try {
      return await part();
    } catch (error) {
      if (error instanceof Problem || tries === mostTries) throw error;
      const { value } = (await kernel.system.in("").first(readGeneration({})))!;
      if (value <= before) throw error;
      kernel.processes.reach(value);
      const acting = await kernel.gate.tenant(who.acting.id);
      if (!acting?.lineage.includes(who.tenant.id)) throw refuse(notFound);
    }
  }
}
