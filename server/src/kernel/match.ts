import type { TSchema } from "typebox";
import { etagOf } from "./answer.ts";
import type { Context } from "./contract.ts";
import { refuse, stale } from "./problem.ts";

/**
 * Refuses with 412 when the call carries an `If-Match` that does not name the resource as it is now. `etag` where the
 * resource makes its own tag.
 */
export function requireMatch(
  ctx: Pick<Context, "call">,
  schema: TSchema,
  resource: unknown,
  etag = etagOf(schema, resource),
): void {
  const { ifMatch } = ctx.call;
  if (ifMatch && !ifMatch.includes("*") && !ifMatch.includes(etag)) throw refuse(stale);
}
