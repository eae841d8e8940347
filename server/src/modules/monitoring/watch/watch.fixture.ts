/** The set-up of the specification's cases (monitoring, 6): provider P over partner Q over customers A, B and Z. */
import type { Permission } from "#kernel/permissions";
import { startServer } from "../../../../test/harness.ts";
import { rootFolderOf as rootOf } from "../scope.ts";

export async function startWorld() {
  const server = await startServer();
  const P = server.rootId;
  const Q = await server.tenant(P, "partner", "Q");
  const [A, B] = [await server.tenant(Q, "customer", "A"), await server.tenant(Q, "customer", "B")];
  const Z = await server.tenant(Q, "customer", "Z", { api: false });
  const pW = await server.key(P, ["watch.write", "folder.write", "watch.activate"]);

  async function made(path: string, body: object): Promise<string> {
    const answer = await server.post(path, body, { key: pW });
    if (answer.status !== 201) throw new Error(answer.text);
    return answer.body.id;
  }
  const folder = (parentFolderId: string, name: string, more: object = {}) =>
    made("/v1/folder", { parentFolderId, name, ...more });
  const location = (folderId: string, name: string) => made("/v1/location", { folderId, name });

  await server.patch(`/v1/folder/${rootOf(A)}`, { customerReference: "C-17" }, { key: pW });
  const L = await location(rootOf(A), "L");
  const key = (tenantId: string, permissions: Permission[]) => server.key(tenantId, permissions);
  const keys = {
    pW,
    aW: await key(A, ["watch.write"]),
    aR: await key(A, ["watch.read"]),
    aH: await key(A, []),
    aC: await key(A, ["watch.read", "folder.write"]),
    aU: await key(A, ["watch.activate"]),
    bW: await key(B, ["watch.write"]),
    zW: await key(Z, ["watch.write"]),
  };
  let names = 0;

  return {
    ...server,
    server,
    P,
    Q,
    A,
    B,
    Z,
    L,
    rootOf,
    folder,
    location,
    keys,
    /** The full body of the cases; a name of its own unless one is stated. */
    full: (more: Record<string, unknown> = {}) => ({
      name: `hq-${++names}`,
      locationId: L,
      watchType: "Bearer",
      accessInKbps: 80_000,
      accessOutKbps: 20_000,
      deviceAddress: "192.0.2.10",
      snmp: { version: "v2c", community: "s3cret" },
      ...more,
    }),
    /** Creates a watch that must succeed. */
    // biome-ignore lint/suspicious/noExplicitAny: tests look at members of replies
    async created(body: Record<string, unknown>, as: string = keys.aW): Promise<any> {
      const answer = await server.post("/v1/watch", body, { key: as });
      if (answer.status !== 201) throw new Error(answer.text);
      return answer.body;
    },
    /** Events and audit entries so far, of one subject or all. */
    events: (subject?: string) =>
      server.sql("select type, subject, data from kernel.told where $1::text is null or subject = $1 order by id", [
        subject ?? null,
      ]),
    audits: (itemId?: string) =>
      server.sql("select * from access.audit where $1::text is null or item_id = $1 order by position", [
        itemId ?? null,
      ]),
  };
}
