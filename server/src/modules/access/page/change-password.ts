import type { FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import type { Kernel } from "#kernel/kernel";
import { userCards } from "#modules/directory";
import { asActor, callerOf } from "../oauth/caller.ts";
import { loginOf } from "../oauth/log-in.ts";
import { verifyPassword } from "../password.ts";
import { storePassword } from "../user/operations.ts";
import { hashOrRefuse, passwordFaults, tooBusy } from "../user/password-rules.ts";
import type { FieldFaults } from "./form.ts";
import { PageRefusal, type Visitor } from "./visitor.ts";

/**
 * Sets the password that somebody in the middle of a log-in chose, which ends the user's other log-ins; what is wrong
 * with it otherwise.
 */
export async function chooseOwnPassword(
  kernel: Kernel,
  request: FastifyRequest,
  { tenant, user, session }: Visitor,
  chosen: string,
  again: string,
): Promise<FieldFaults | null> {
  const card = (await userCards(kernel.db.in(tenant.id), [user.id])).get(user.id);
  const login = await loginOf(kernel.system.in(""), user.id);
  if (!card || !login)
    throw new PageRefusal(409, "This user is gone", "Ask whoever manages the users of your organisation.");
  const broken = passwordFaults(chosen, card);
  if (broken.length > 0) return { new: broken.map(({ message }) => message) };
  if (chosen !== again) return { again: ["The two are not the same."] };
  const old = await verifyPassword(login.password, chosen);
  if (old === "busy") throw tooBusy();
  if (old === "right") return { new: ["This is the password that you were given."] };
  const phc = await hashOrRefuse(chosen);
  const who = asActor(tenant, user, null, session.id);
  await inTransaction(kernel, callerOf(kernel, request, who), (ctx) =>
    storePassword(ctx, card, phc, { keptSessionId: session.id }),
  );
  return null;
}
