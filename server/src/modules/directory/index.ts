/**
 * The people of a tenant and its own structure: users and org units; and its custom roles, whose rows and evaluation are
 * those of `access`. One table of users serves every module; `access`
 * keeps passwords and credentials by user id and asks here whether a user may act.
 */
import type { Module } from "#kernel/contract";
import { privilegeEvents, roleEvents, userEvents } from "./events.ts";
import { makeRootUnit } from "./org-unit.ts";
import { permissionRoutes } from "./permission/routes.ts";
import { roleRoutes } from "./role/routes.ts";
import { privilegeRoutes } from "./supervisor-privilege/routes.ts";
import { userRoutes } from "./user/routes.ts";

export { userCreated } from "./events.ts";

export { findLogin, type LoginUser, usernameOf } from "./log-in.ts";
export { fold } from "./names.ts";
export {
  tenantOfUser,
  type UserCard,
  userCards,
  userNameIn,
  userStanding,
  usersWithLogIn,
} from "./standing.ts";
export { makeUser } from "./user/make-user.ts";
export { deleteUser } from "./user/operations.ts";
export { lockUser } from "./user/rows.ts";

export const directory: Module = {
  name: "directory",
  about: "Users, org units and custom roles of a tenant.",
  routes: [...userRoutes, ...roleRoutes, ...privilegeRoutes, ...permissionRoutes],
  events: [...userEvents, ...Object.values(roleEvents), ...Object.values(privilegeEvents)],
  prepareTenant: makeRootUnit,
};
