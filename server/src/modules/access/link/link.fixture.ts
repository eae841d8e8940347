/** A house whose mails are read: what the tests of links share. */
import assert from "node:assert/strict";
import { eventually, startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { startMailbox } from "../../../../test/mailbox.ts";
import { makeUser, type TestUser } from "../../../../test/tokens.ts";
import { linkJobs } from "./jobs.ts";

export const mailbox = await startMailbox();
export const server = await startServer({
  settings: {
    mail: { smtpUrl: mailbox.url, from: "Demarc <no-reply@demarc.example>" },
    trustedProxies: ["127.0.0.0/8"],
  },
});
export const { q, qAdm, a, aAdm, bAdm } = await buildHouse(server);
await server.sql("update access.tenant set features = features || '{\"passwordGrant\": true}'");
await server.kernel.forget();
export const days = 86_400_000;
export const minutes = 60_000;
export const good = "correct horse battery 17";

export const tokenIn = (link: string) => new URL(link).searchParams.get("token")!;
export const accept = (link: string, password = good) =>
  server.post("/v1/invitation/accept", { token: tokenIn(link), new: password });
export const reset = (link: string, password = good) =>
  server.post("/v1/password/reset", { token: tokenIn(link), new: password });
export const logIn = (tenant: string, username: string, password: string) =>
  server.call("POST", "/oauth/token", { body: { userName: username, tenant, password } });
export const codeOf = async (tenantId: string) => (await server.kernel.gate.tenant(tenantId))!.code;

let asked = 0;
/** Asks for a reset, each time from another address unless said otherwise. */
export const ask = (login: string, tenant?: string, address = `192.0.2.${++asked}`) =>
  server.post("/v1/password/reset-request", tenant === undefined ? { login } : { login, tenant }, {
    headers: { "x-forwarded-for": address },
  });
/** The link that is mailed to a user after a reset was asked for. */
export async function resetLink(user: TestUser): Promise<string> {
  const before = mailbox.to(user.email).length;
  assert.equal((await ask(user.email)).status, 202);
  return eventually(() => mailbox.to(user.email)[before]?.link);
}
export const person = (name: string, role = "read_only", tenantId = a) => makeUser(server, tenantId, name, role);
/** A user that has no password yet. */
export async function newcomer(username: string, role: string | null = null): Promise<{ id: string; email: string }> {
  const email = `${username}@new.example`;
  const body = { username, fullname: username, email, defaultOrgUnitExternalId: "ROOT" };
  const made = await server.post("/v1/user", body, { key: aAdm.key });
  assert.equal(made.status, 200, made.text);
  const { id } = made.body;
  if (role) {
    const given = { principal: { kind: "user", id }, roleId: role };
    assert.equal((await server.post("/v1/assignment", given, { key: aAdm.key })).status, 201);
  }
  return { id, email };
}
export const invite = (userId: string, more: object = { sendInvitation: false }, key = aAdm.key, headers = {}) =>
  server.post("/v1/invitation", { userId, ...more }, { key, headers });
export const types = async (id: string) =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [id])).map((row) => row.type);
export const runJob = () => linkJobs[0]!.run(server.kernel);
export const administrator = (username: string, sendInvitation?: boolean) => ({
  username,
  email: `${username}@c.example`,
  fullname: "Cy Boss",
  sendInvitation,
});
