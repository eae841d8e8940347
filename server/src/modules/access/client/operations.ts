import { type SelectQueryBuilder, type SqlBool, sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import { newId } from "#kernel/ids";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { holdsIn, lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, problem, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { requireMayHandOut } from "../hand-out.ts";
import { scopeFaults } from "../key/faults.ts";
import { heldBy, isAmong, opened, type ReadRole, readRoles, storeRoles } from "../key/given-roles.ts";
import { lockTenant } from "../key/place.ts";
import { requireVersion } from "../key/rights.ts";
import { addSecret, rotateSecret } from "../key/rotation.ts";
import { type KeyFound, rolesOf, secretsOf, secretsShown } from "../key/rows.ts";
import type { Rotation } from "../key/schema.ts";
import { endGrant } from "../oauth/grant.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { type AccessTables, access, type ClientRow } from "../tables.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { lockTree } from "../tenant/tree.ts";
import { clientCreated, clientDeleted, clientRotated, clientUpdated } from "./events.ts";
import { redirectFaults } from "./redirect-uri.ts";
import type { Client, ClientChange, IssuedClient, NewClient } from "./schema.ts";

export const clientLimitReached = problem("client_limit_reached", 409, "There is no place for another client.");
export const clientIsPublic = problem("client_is_public", 409, "A public client has no secret.");

const mostClients = 100;
const shownFields = ["name", "roles", "scopes", "redirectUris", "accessTokenSeconds", "enabled"] as const;

type ClientFound = Omit<ClientRow, "enabled" | "version"> &
  Pick<KeyFound, "roles" | "secrets"> & { enabled: boolean; version: number };
type Tagged<T> = { body: T; etag: string };
type Clients = SelectQueryBuilder<AccessTables & { c: AccessTables["access.client"] }, "c", object>;

function visibleClients(ctx: Pick<Context, "who">, permission: Permission, which: "living" | "all" = "living") {
  const rows = access
    .selectFrom("access.client as c")
    .where(inReach(ctx.who, permission, sql.ref("c.tenant_id"))) as unknown as Clients;
  return which === "all" ? rows : rows.where("c.deleted_at", "is", null);
}

function withParts(rows: Clients, at: Date) {
  return rows
    .selectAll("c")
    .select([
      rolesOf("c.id").as("roles"),
      secretsOf("client", "c.id", at).as("secrets"),
    ]) as unknown as SelectQueryBuilder<AccessTables & { c: AccessTables["access.client"] }, "c", ClientFound>;
}

function clientOf(row: ClientFound): Client {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    kind: row.kind,
    name: row.name,
    roles: row.roles,
    scopes: row.scopes,
    redirectUris: row.redirect_uris,
    public: row.public,
    accessTokenSeconds: row.access_token_seconds,
    enabled: row.enabled,
    secrets: secretsShown(row.secrets),
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

/** As a key's: use makes a copy old, but never an edit stale. */
function tagged<T extends Client>(row: ClientFound, body: T): Tagged<T> {
  return { body, etag: `"${row.version}-${row.last_used_at?.getTime() ?? 0}"` };
}

type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Filters = {
  kind?: Client["kind"][];
  enabled?: boolean;
  tenantId?: string[];
  updatedSince?: string;
  q?: string;
};

export async function listClients(ctx: Context, input: ListInput & Filters) {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "client.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = withParts(visibleClients(ctx, "client.read"), ctx.now);
  if (input.kind) rows = rows.where("c.kind", "in", input.kind);
  if (input.enabled !== undefined) rows = rows.where("c.enabled", "=", input.enabled);
  if (input.tenantId) rows = rows.where("c.tenant_id", "in", input.tenantId);
  if (input.updatedSince) rows = rows.where("c.updated_at", ">=", new Date(input.updatedSince));
  if (input.q !== undefined)
    rows = rows.where(sql<SqlBool>`strpos(lower(normalize(c.name, NFC)), lower(normalize(${input.q}, NFC))) > 0`);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("c.created_at"), updatedAt: sql.ref("c.updated_at"), name: sql`lower(c.name)` },
    by: "createdAt",
    id: sql.ref("c.id"),
    item: clientOf,
  });
}

export async function getClient(ctx: Context, clientId: string): Promise<Tagged<Client>> {
  const row = await ctx.db.first(withParts(visibleClients(ctx, "client.read"), ctx.now).where("c.id", "=", clientId));
  if (!row) throw refuse(notFound);
  return tagged(row, clientOf(row));
}

/** Registers a client of the acting tenant. */
export async function createClient(ctx: Context, input: NewClient): Promise<Tagged<IssuedClient>> {
  const { kind, scopes = ["*"], redirectUris = [] } = input;
  const isPublic = input.public ?? false;
  const tenantId = ctx.who.acting.id;
  const id = newId("cli", ctx.now.getTime());
  if (input.roles) await lockTree(ctx, false);
  if (!holdsIn(ctx.who, "client.manage", ctx.who.acting)) throw lacking("client.manage");
  requireRecentLogIn(ctx);
  const { roles, faults } = await rolesOfKind(ctx, { tenantId, id, kind }, input.roles);
  faults.push(...scopeFaults(input.scopes), ...addressFaults(kind, redirectUris));
  if (isPublic && kind === "service")
    faults.push({ pointer: "/public", rule: "not_supported", message: "A service has a secret." });
  if (faults.length > 0) throw invalid(faults);
  requireMayHandOut(ctx, roles, scopes);
  await requirePlace(ctx, tenantId);
  await ctx.db.run(
    access.insertInto("access.client").values({
      tenant_id: tenantId,
      id,
      kind,
      name: input.name,
      scopes,
      redirect_uris: redirectUris,
      public: isPublic,
      access_token_seconds: input.accessTokenSeconds ?? (kind === "service" ? 3_600 : 600),
      created_by: ctx.who.actor.id,
      created_at: ctx.now,
      updated_at: ctx.now,
      last_used_at: null,
      deleted_at: null,
    }),
  );
  // Sent at once, run in order.
  const [secret, , row] = await Promise.all([
    isPublic ? null : addSecret(ctx, { kind: "client", tenantId, id }),
    storeRoles(ctx, { tenantId, kind: "client", id }, [], roles),
    readClient(ctx, id),
  ]);
  const client = clientOf(row);
  tell(ctx, clientCreated as EventKind, client);
  record(ctx, "created", null, client);
  return tagged(row, { ...client, secret });
}

/** An application acts for its users, with their roles. */
async function rolesOfKind(
  ctx: Context,
  client: { tenantId: string; id: string; kind: Client["kind"] },
  roles: NewClient["roles"],
) {
  if (client.kind === "service") return readRoles(ctx, { ...client, kind: "client", deskOnly: false }, roles ?? []);
  const message = "An application acts with the roles of its users.";
  const faults: Fault[] = roles?.length ? [{ pointer: "/roles", rule: "not_supported", message }] : [];
  return { roles: [] as ReadRole[], faults };
}

function addressFaults(kind: Client["kind"], redirectUris: readonly string[]): Fault[] {
  if (kind === "application") return redirectFaults(redirectUris);
  if (redirectUris.length === 0) return [];
  return [{ pointer: "/redirectUris", rule: "not_supported", message: "A service is redirected nowhere." }];
}

async function requirePlace(ctx: Context, tenantId: string): Promise<void> {
  const living = access
    .selectFrom("access.client")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("tenant_id", "=", tenantId)
    .where("deleted_at", "is", null);
  const [, counted] = await Promise.all([lockTenant(ctx, tenantId), ctx.db.first(living)]);
  if (counted!.count < mostClients) return;
  throw refuse(clientLimitReached, {
    detail: `There may be ${mostClients} clients; delete one first.`,
    members: { limit: mostClients },
  });
}

async function readClient(ctx: Context, clientId: string): Promise<ClientFound> {
  const all = access.selectFrom("access.client as c").where("c.id", "=", clientId) as unknown as Clients;
  return (await ctx.db.first(withParts(all, ctx.now)))!;
}

/** A client to be changed, locked: 404 where it may not be read either, 403 where it may be read alone. */
async function lockClient(ctx: Context, clientId: string, which: "living" | "all" = "living"): Promise<ClientFound> {
  const [row, seen] = await Promise.all([
    ctx.db.first(
      withParts(visibleClients(ctx, "client.manage", which), ctx.now)
        .where("c.id", "=", clientId)
        .forNoKeyUpdate("c"),
    ),
    ctx.db.first(visibleClients(ctx, "client.read", which).select("c.id").where("c.id", "=", clientId)),
  ]);
  if (row) return row;
  throw seen ? lacking("client.manage") : refuse(notFound);
}

/** Changes a client; absent members keep. */
export async function updateClient(ctx: Context, clientId: string, change: ClientChange): Promise<Tagged<Client>> {
  if (change.roles) await lockTree(ctx, false);
  const row = await lockClient(ctx, clientId);
  requireVersion(ctx, row);
  const before = clientOf(row);
  if (change.roles) requireRecentLogIn(ctx);
  const given = change.roles && (await rolesOfKind(ctx, before, change.roles));
  const faults = [
    ...(given?.faults ?? []),
    ...scopeFaults(change.scopes),
    ...addressFaults(row.kind, change.redirectUris ?? []),
  ];
  if (faults.length > 0) throw invalid(faults);
  const after: Client = {
    ...before,
    name: change.name ?? before.name,
    roles: given?.roles.map(({ roleId, within }) => ({ roleId, within })) ?? before.roles,
    scopes: change.scopes ?? before.scopes,
    redirectUris: change.redirectUris ?? before.redirectUris,
    accessTokenSeconds: change.accessTokenSeconds ?? before.accessTokenSeconds,
    enabled: change.enabled ?? before.enabled,
  };
  const fields = shownFields.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]));
  if (fields.length === 0) return tagged(row, before);
  await requireMayWiden(ctx, row, after, given?.roles);
  await ctx.db.run(
    access
      .updateTable("access.client")
      .set({
        name: after.name,
        scopes: after.scopes,
        redirect_uris: after.redirectUris,
        access_token_seconds: after.accessTokenSeconds,
        enabled: after.enabled,
        updated_at: ctx.now,
        version: sql`version + 1`,
      })
      .where("id", "=", clientId),
  );
  if (fields.includes("roles"))
    await storeRoles(ctx, { tenantId: row.tenant_id, kind: "client", id: clientId }, before.roles, after.roles);
  // Whoever let the application in let these addresses have its codes, and is asked again about another one.
  if (after.redirectUris.some((uri) => !row.redirect_uris.includes(uri))) await forgetConsents(ctx, clientId);
  const stored = await readClient(ctx, clientId);
  const client = clientOf(stored);
  tell(ctx, clientUpdated as EventKind, client, before, fields);
  record(ctx, "updated", before, client);
  ctx.forget();
  return tagged(stored, client);
}

/** Roles and scopes that the client did not have are handed out; what it keeps or loses is not. */
async function requireMayWiden(ctx: Context, row: ClientFound, after: Client, roles?: ReadRole[]): Promise<void> {
  const added = roles?.filter((role) => !isAmong(row.roles, role)) ?? [];
  requireMayHandOut(ctx, added, after.scopes);
  if (after.scopes !== row.scopes)
    requireMayHandOut(ctx, opened(await heldBy(ctx, row.tenant_id, row.id), row.scopes), after.scopes);
}

/** A second secret for the same client. It gets at the credential, so the client may hold no more than the caller. */
export async function rotateClient(
  ctx: Context,
  clientId: string,
  input: Rotation | undefined,
): Promise<Tagged<IssuedClient>> {
  const row = await lockClient(ctx, clientId);
  if (row.public) throw refuse(clientIsPublic);
  requireRecentLogIn(ctx);
  requireMayHandOut(ctx, await heldBy(ctx, row.tenant_id, row.id), row.scopes);
  const overlapMinutes = input?.overlapMinutes ?? 1_440;
  const owner = { kind: "client", tenantId: row.tenant_id, id: clientId } as const;
  const secret = await rotateSecret(ctx, owner, overlapMinutes);
  const touched = { updated_at: ctx.now, version: sql<number>`version + 1` };
  await ctx.db.run(access.updateTable("access.client").set(touched).where("id", "=", clientId));
  const stored = await readClient(ctx, clientId);
  const client = clientOf(stored);
  tell(ctx, clientRotated as EventKind, client, clientOf(row), ["secrets"]);
  record(ctx, "rotated", null, client, [
    { field: "secret", old: "***", new: "***" },
    { field: "overlapMinutes", old: null, new: overlapMinutes },
  ]);
  ctx.forget();
  return tagged(stored, { ...client, secret });
}

/** Deletes a client and ends its grants and tokens; what is deleted already is left alone. */
export async function deleteClient(ctx: Context, clientId: string): Promise<void> {
  const row = await lockClient(ctx, clientId, "all");
  if (row.deleted_at !== null) return;
  requireVersion(ctx, row);
  await ctx.db.run(
    access
      .updateTable("access.client")
      .set({ deleted_at: ctx.now, updated_at: ctx.now, version: sql`version + 1` })
      .where("id", "=", clientId),
  );
  await storeRoles(ctx, { tenantId: row.tenant_id, kind: "client", id: clientId }, row.roles, []);
  const grants = await ctx.db.rows(
    query<{ id: string }>(sql`select id from access."grant" where client_id = ${clientId} and ended_at is null`),
  );
  for (const { id } of grants) await endGrant(ctx, id, "revoked");
  await forgetConsents(ctx, clientId);
  const client = clientOf(row);
  tell(ctx, clientDeleted as EventKind, client, undefined, [], true);
  record(ctx, "deleted", client, null);
  // Its access tokens need no denial of their own: the gate admits none of a client that is gone.
  ctx.forget();
}

async function forgetConsents(ctx: Context, clientId: string): Promise<void> {
  await ctx.db.run(query(sql`delete from access.consent where client_id = ${clientId}`));
}

function tell(
  ctx: Context,
  kind: EventKind,
  client: Client,
  before?: Client,
  fields: readonly string[] = [],
  gone = false,
): void {
  ctx.emit(kind, {
    tenantId: client.tenantId,
    subject: client.id,
    path: `/client/${client.id}`,
    resource: gone ? null : client,
    previous: before ? Object.fromEntries(fields.map((field) => [field, before[field as keyof Client]])) : null,
    changed: fields,
  });
}

function record(
  ctx: Context,
  action: string,
  before: Client | null,
  after: Client | null,
  more?: { field: string; old: unknown; new: unknown }[],
): void {
  const client = (after ?? before)!;
  ctx.audit({
    tenantId: client.tenantId,
    type: "client",
    action,
    item: { kind: "client", id: client.id, name: client.name },
    changes: more ?? changesOf(before, after, [...shownFields, "kind", "public"]),
  });
}
