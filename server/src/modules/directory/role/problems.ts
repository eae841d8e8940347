import { problem } from "#kernel/problem";

export const roleInUse = problem("role_in_use", 400, "Somebody has the role.");
export const privilegeInUse = problem("privilege_in_use", 400, "Somebody has the privilege.");
export const privilegeFixed = problem("privilege_fixed", 400, "The privilege Administrator stays as it is.");
export const limitOfKindReached = problem("limit_of_kind_reached", 400, "There is no place for another one.");
