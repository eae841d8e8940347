import type { Context } from "#kernel/contract";
import { invalid } from "#kernel/problem";
import { faultsOf } from "#kernel/validate";
import { rootUnit } from "../org-unit.ts";
import { impossible, usernameInUse } from "./problems.ts";
import { NewUser } from "./schema.ts";
import { insertUser } from "./write.ts";

export type UserToMake = Omit<NewUser, "defaultOrgUnitExternalId"> & {
  /** The acting tenant unless said otherwise; at or below it. */
  tenantId?: string;
  /** The root unit unless said otherwise. */
  defaultOrgUnitExternalId?: string;
};

/**
 * Makes a user for another module, in its transaction: a new tenant's administrator, demo data. It has no password and no
 * role yet. Faults are those of `upsertUser`, pointing at the members of `user`; a taken name is `username_in_use`. Emits
 * `user.created`, so a route that calls it declares `userCreated`.
 */
export async function makeUser(ctx: Context, user: UserToMake): Promise<{ id: string }> {
  const { tenantId = ctx.who.acting.id, ...rest } = user;
  const given = { defaultOrgUnitExternalId: rootUnit, ...rest };
  const faults = faultsOf(NewUser, given);
  if (faults.length > 0) throw invalid(faults);
  const made = await insertUser(ctx, tenantId, given);
  if (made) return { id: made.id };
  const message = `The user name '${user.username}' is already used by another user.`;
  throw impossible([{ kind: usernameInUse, fault: { pointer: "/username", rule: "not_unique", message } }]);
}
