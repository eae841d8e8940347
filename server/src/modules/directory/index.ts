/**
 * The people of a tenant and its own structure: users and org units. One table of users serves every module; `access`
 * keeps passwords and credentials by user id and asks here whether a user may act.
 */
import type { Module } from "#kernel/contract";

export { findLogin, type LoginUser, usernameOf } from "./log-in.ts";
export { type UserStanding, userNameIn, userStanding } from "./standing.ts";

export const directory: Module = {
  name: "directory",
  about: "Users and org units of a tenant.",
};
