/** The set-up of the specification's cases (monitoring, 6): provider P over partner Q over customers A, B and Z. */
import { newId } from "#kernel/ids";
import type { Permission } from "#kernel/permissions";
import { access } from "#modules/access";
import { directory } from "#modules/directory";
import { startServer } from "../../../../test/harness.ts";
import { treeEvents } from "../events.ts";
import { watchEvents } from "./events.ts";
import { watchRoutes } from "./routes.ts";

export type World = Awaited<ReturnType<typeof startWorld>>;

export async function startWorld() {
  const server = await startServer({
    modules: [access, directory, { name: "monitoring", about: "Watches.", routes: watchRoutes, events: [...watchEvents, ...treeEvents] }],
  });
  const P = server.rootId;
  const Q = await server.tenant(P, "partner", "Q");
  const [A, B] = [await server.tenant(Q, "customer", "A"), await server.tenant(Q, "customer", "B")];
  const Z = await server.tenant(Q, "customer", "Z", { api: false });
  const rootOf = (tenantId: string) => tenantId.replace("tnt_", "fld_");
  let number = 1_000_000;

  /** A folder made directly, with all that the tree keeps of it. */
  async function folder(tenantId: string, parentId: string | null, name: string, more: { customerReference?: string; id?: string } = {}): Promise<string> {
    const id = more.id ?? newId("fld");
    const isRoot = more.id !== undefined;
    const [parent] = parentId ? await server.sql("select * from monitoring.folder where id = $1", [parentId]) : [];
    const reference = more.customerReference ?? null;
    await server.sql(
      `insert into monitoring.folder (tenant_id, id, numeric_id, name, parent_id, category, time_zone, customer_reference, is_tenant_root,
         path_ids, path_names, effective_reference, effective_reference_folder_id, created_at, created_by, updated_at, updated_by, changed_at)
       values ($1, $2, $3, $4, $5, 'customer', 'UTC', $6, $7, $8, $9, $10, $11, $12, 'test', $12, 'test', $12)`,
      [
        tenantId, id, ++number, name, parentId, reference, isRoot, [...(parent?.path_ids ?? []), id], [...(parent?.path_names ?? []), name],
        reference ?? parent?.effective_reference ?? null, reference ? id : (parent?.effective_reference_folder_id ?? null), server.clock.now(),
      ],
    );
    return id;
  }

  async function location(folderId: string, name: string): Promise<string> {
    const id = newId("loc");
    await server.sql(
      `insert into monitoring.location (tenant_id, id, numeric_id, name, folder_id, time_zone, created_at, created_by, updated_at, updated_by, changed_at)
       select tenant_id, $1, $2, $3, id, time_zone, $4, 'test', $4, 'test', $4 from monitoring.folder where id = $5`,
      [id, ++number, name, server.clock.now(), folderId],
    );
    return id;
  }

  await folder(P, null, "P", { id: rootOf(P) });
  await folder(Q, rootOf(P), "Q", { id: rootOf(Q) });
  await folder(A, rootOf(Q), "A", { id: rootOf(A), customerReference: "C-17" });
  await folder(B, rootOf(Q), "B", { id: rootOf(B) });
  await folder(Z, rootOf(Q), "Z", { id: rootOf(Z) });
  const L = await location(rootOf(A), "L");
  const key = (tenantId: string, permissions: Permission[]) => server.key(tenantId, permissions);
  const keys = {
    pW: await key(P, ["watch.write", "folder.write", "watch.activate"]),
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
    P, Q, A, B, Z, L, rootOf, folder, location, keys,
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
    async created(body: Record<string, unknown>, as: string = keys.aW): Promise<any> {
      const answer = await server.post("/v1/watch", body, { key: as });
      if (answer.status !== 201) throw new Error(answer.text);
      return answer.body;
    },
    /** Events and audit entries so far, of one subject or all. */
    events: (subject?: string) => server.sql("select type, subject, data from kernel.outbox where $1::text is null or subject = $1 order by id", [subject ?? null]),
    audits: (itemId?: string) => server.sql("select * from access.audit where $1::text is null or item_id = $1 order by position", [itemId ?? null]),
  };
}
