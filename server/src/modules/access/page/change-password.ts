import type { FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import type { Kernel } from "#kernel/kernel";
import { userCards } from "#modules/directory";
import { asActor, callerOf } from "../oauth/caller.ts";
import { loginOf } from "../oauth/log-in.ts";
import { brokenPasswordRules, hashPassword, verifyPassword } from "../password.ts";
import { ruleWords, storePassword } from "../user/operations.ts";
import type { Faults } from "./forms.ts";
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
): Promise<Faults | null> {
  const card = (await userCards(kernel.db.in(tenant.id), [user.id])).get(user.id);
  const login = await loginOf(kernel.system.in(""), user.id);
  if (!card || !login)
    throw new PageRefusal(409, "This user is gone", "Ask whoever manages the users of your organisation.");
  const [rule] = brokenPasswordRules(chosen, card);
  if (rule !== undefined) return { new: ruleWords[rule] };
  if (chosen !== again) return { again: "The two are not the same." };
  const [old, made] = [await verifyPassword(login.password, chosen), await hashPassword(chosen)];
  if (old === "busy" || made === "busy")
    throw new PageRefusal(503, "Too many log-ins at once", "Go back and try again in a moment.", {
      "retry-after": "1",
    });
  if (old === "right") return { new: "This is the password that you were given." };
  const who = asActor(tenant, user, "");
  await inTransaction(kernel, callerOf(kernel, request, who), (ctx) => storePassword(ctx, card, made.phc, session.id));
  return null;
}
