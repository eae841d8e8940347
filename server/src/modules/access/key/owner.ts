/** Users whom keys belong to or act on behalf of. */
import type { Context } from "#kernel/contract";
import { type Fault, referenceNotFound } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { userNameIn, userStanding } from "#modules/directory";

/** The faults of a user that a key of this tenant shall answer to: a current one of the very tenant, who logs in. */
export async function userFaults(ctx: Context, tenantId: string, userId: string, pointer: string): Promise<Fault[]> {
  const wrong = idFault("usr", userId, { pointer });
  if (wrong) return [wrong];
  const [name, standing] = await Promise.all([
    userNameIn(ctx.db, tenantId, userId),
    userStanding(ctx.db, userId, ctx.now),
  ]);
  if (name === undefined || !standing?.live) return [referenceNotFound({ pointer })];
  if (standing.logsIn) return [];
  return [{ pointer, rule: "not_supported", message: "The user does not log in: its logInMethod is none." }];
}
