import { Reply, route } from "#kernel/contract";
import { userNeeded } from "#kernel/problem";
import { lastAdministrator } from "../last-administrator.ts";
import { passwordChanged, userBlocked, userUnblocked } from "./events.ts";
import { blockUser, changePassword, currentPasswordWrong, unblockUser } from "./operations.ts";
import { loginThrottled } from "./own.ts";
import { PasswordChange } from "./schema.ts";

const done = () => new Reply(204, undefined);

export const userRoutes = [
  route({
    method: "POST",
    path: "/user/{id}/block",
    versions: "v1+",
    id: "blockUser",
    summary: "Block a user",
    description:
      "By id or user name. No log-in, its tokens end, its keys sleep until it is unblocked. Repeats harmlessly.",
    permission: "user.write",
    replies: { 204: null },
    problems: [lastAdministrator],
    emits: [userBlocked],
    run: (ctx, { params }) => blockUser(ctx, params.id).then(done),
  }),
  route({
    method: "POST",
    path: "/user/{id}/unblock",
    versions: "v1+",
    id: "unblockUser",
    summary: "Unblock a user",
    description: "By id or user name. Also lifts the lock that wrong passwords have put on its names.",
    permission: "user.write",
    replies: { 204: null },
    emits: [userUnblocked],
    run: (ctx, { params }) => unblockUser(ctx, params.id).then(done),
  }),
  route({
    method: "POST",
    path: "/password/change",
    versions: "v1+",
    id: "changePassword",
    summary: "Change one's own password",
    description: "Needs the credential of a user. All its tokens end, the one used here too; personal keys stay.",
    permission: "any",
    body: PasswordChange,
    replies: { 204: null },
    problems: [userNeeded, currentPasswordWrong, loginThrottled],
    emits: [passwordChanged],
    transaction: "own",
    run: (ctx, { body }) => changePassword(ctx, body).then(done),
  }),
];
