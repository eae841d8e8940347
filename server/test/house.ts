import { credentialDigest, mintCredential } from "../src/kernel/credential.ts";
import { newId } from "../src/kernel/ids.ts";
import { makeUser } from "../src/modules/directory/index.ts";
import type { TestServer } from "./harness.ts";

export type Person = { id: string; key: string; tenantId: string; assignmentId: string | null };

/**
 * The set-up of the acceptance cases (access, section 12): root P > partner Q > customers A and B. People act by personal
 * keys, and have a password: their log-in works.
 */
export async function buildHouse(server: TestServer) {
  const p = server.rootId;
  const q = await server.tenant(p, "partner", "Quest");
  const a = await server.tenant(q, "customer", "Acme");
  const b = await server.tenant(q, "customer", "Bolt");

  async function person(
    tenantId: string,
    username: string,
    role: string | null,
    within: { kind: string; id: string } = { kind: "tenant", id: tenantId },
  ): Promise<Person> {
    const address = { email: `${username}@example.net`, fullname: username };
    const { id } = await server.as(tenantId, (ctx) => makeUser(ctx, { tenantId, username, ...address }));
    await server.sql(
      `insert into access.login (tenant_id, user_id, password) values ($1, $2, 'set')
       on conflict (user_id) do update set password = 'set'`,
      [tenantId, id],
    );
    const assignmentId = role === null ? null : await assign(tenantId, "user", id, role, within);
    const { secret, hint } = mintCredential("dmk");
    const keyId = newId("key");
    await server.sql(
      `insert into access.key (tenant_id, id, kind, title, user_id, scopes, read_only, allowed_addresses, created_by, created_at, updated_at)
       values ($1, $2, 'personal', $2, $3, '{*}', false, '{}', 'test', $4, $4)`,
      [tenantId, keyId, id, server.clock.now()],
    );
    await server.sql(
      "insert into access.key_secret (tenant_id, key_id, digest, hint, created_at) values ($1, $2, $3, $4, $5)",
      [tenantId, keyId, credentialDigest(secret), hint, server.clock.now()],
    );
    return { id, key: secret, tenantId, assignmentId };
  }

  /** A role given behind the API's back. */
  async function assign(
    tenantId: string,
    kind: "user" | "key",
    principalId: string,
    role: string,
    within = { kind: "tenant", id: tenantId },
  ): Promise<string> {
    const id = newId("asg");
    await server.sql(
      `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 'test')`,
      [tenantId, id, kind, principalId, role, within.kind, within.id, server.clock.now()],
    );
    return id;
  }

  /** A custom role that allows these permissions. */
  async function role(tenantId: string, allows: readonly string[], shared = false): Promise<string> {
    const id = newId("rol");
    await server.sql(
      "insert into access.role (tenant_id, id, external_id, name, permissions, shared, created_at, updated_at) values ($1, $2, $2, $2, $3, $4, $5, $5)",
      [tenantId, id, Object.fromEntries(allows.map((name) => [name, "allow"])), shared, server.clock.now()],
    );
    return id;
  }

  const pAdm = await person(p, "pAdm", "provider_administrator");
  const qAdm = await person(q, "qAdm", "tenant_administrator");
  const aAdm = await person(a, "aAdm", "tenant_administrator");
  const aRead = await person(a, "aRead", "read_only");
  const bAdm = await person(b, "bAdm", "tenant_administrator");
  return { p, q, a, b, pAdm, qAdm, aAdm, aRead, bAdm, person, assign, role };
}
