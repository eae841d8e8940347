/** Keys as rows, as their readers see them, and as resources. */
import { type SelectQueryBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import type { Permission } from "#kernel/permissions";
import type { Principal } from "#kernel/principal";
import { inReach } from "#kernel/wall";
import { isForDeskKeysOnly } from "../hand-out.ts";
import { type AccessTables, access, type KeyRow } from "../tables.ts";
import type { Key } from "./schema.ts";

export type RoleFound = { roleId: string; within: { kind: Key["roles"][number]["within"]["kind"]; id: string } };
type SecretFound = { hint: string; createdAt: string; expiresAt: string | null };
export type KeyFound = Omit<KeyRow, "enabled" | "version" | "uses"> & {
  enabled: boolean;
  version: number;
  uses: number;
  roles: RoleFound[];
  secrets: SecretFound[];
};

/** Roles of a principal, in the order of their making. `ref` names its id. */
export const rolesOf = (ref: string) =>
  sql<RoleFound[]>`(select coalesce(jsonb_agg(jsonb_build_object('roleId', a.role_id,
      'within', jsonb_build_object('kind', a.within_kind, 'id', a.within_id)) order by a.created_at, a.id), '[]')
    from access.assignment a where a.principal_id = ${sql.ref(ref)})`;

/** The live secrets of a key or client at an instant, the newest last. */
export const secretsOf = (owner: "key" | "client", ref: string, at: Date) =>
  sql<SecretFound[]>`(select coalesce(jsonb_agg(jsonb_build_object('hint', s.hint, 'createdAt', s.created_at,
      'expiresAt', s.expires_at) order by s.expires_at nulls last), '[]')
    from ${sql.table(`access.${owner}_secret`)} s
    where ${sql.ref(`s.${owner}_id`)} = ${sql.ref(ref)} and (s.expires_at is null or s.expires_at > ${at}))`;

/** Where the caller holds a `key.*` permission over keys of every kind, and where over those of the desk alone. */
function allows(who: Principal, permission: Permission) {
  const over = (deskOnly: boolean) =>
    inReach(
      { ...who, grants: who.grants.filter((grant) => isForDeskKeysOnly(grant) === deskOnly) },
      permission,
      sql.ref("k.tenant_id"),
    );
  return sql<boolean>`(${over(false)} or (k.kind = 'integration' and ${over(true)}))`;
}

type Keys = SelectQueryBuilder<AccessTables & { k: AccessTables["access.key"] }, "k", object>;

/** Keys on which the caller holds `permission`; deleted ones only where the tombstones are asked for. */
export function visibleKeys(ctx: Pick<Context, "who">, permission: Permission, which: "living" | "all" = "living") {
  const rows = access.selectFrom("access.key as k").where(allows(ctx.who, permission)) as unknown as Keys;
  return which === "all" ? rows : rows.where("k.deleted_at", "is", null);
}

/** All that a key's resource is made of. */
export function withParts(rows: Keys, at: Date) {
  return rows
    .selectAll("k")
    .select([rolesOf("k.id").as("roles"), secretsOf("key", "k.id", at).as("secrets")]) as unknown as SelectQueryBuilder<
    AccessTables & { k: AccessTables["access.key"] },
    "k",
    KeyFound
  >;
}

/** The key of an id whatever the caller may do; for work that has shown its right already. */
export async function readKey(ctx: Pick<Context, "db" | "now">, keyId: string): Promise<KeyFound> {
  const all = access.selectFrom("access.key as k").where("k.id", "=", keyId) as unknown as Keys;
  const row = await ctx.db.first(withParts(all, ctx.now));
  if (!row) throw new Error(`The key ${keyId} is behind the wall of the acting tenant.`);
  return row;
}

const iso = (value: string | Date | null) => (value === null ? null : new Date(value).toISOString());

export function secretsShown(secrets: readonly SecretFound[]): Key["secrets"] {
  return secrets.map(({ hint, createdAt, expiresAt }) => ({
    hint,
    createdAt: iso(createdAt)!,
    expiresAt: iso(expiresAt),
  }));
}

export function keyOf(row: KeyFound): Key {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    kind: row.kind,
    title: row.title,
    description: row.description,
    userId: row.user_id,
    responsibleUserId: row.responsible_user_id,
    roles: row.roles,
    scopes: row.scopes,
    readOnly: row.read_only,
    expiresAt: iso(row.expires_at),
    allowedAddresses: row.allowed_addresses,
    enabled: row.enabled,
    disabledReason: row.disabled_reason as Key["disabledReason"],
    secrets: secretsShown(row.secrets),
    lastUsedAt: iso(row.last_used_at),
    lastUsedAddress: row.last_used_address,
    createdBy: row.created_by,
    createdAt: iso(row.created_at)!,
    updatedAt: iso(row.updated_at)!,
  };
}

/** `"<version>-<use>"`: use makes a copy old, but never an edit stale. */
export function keyTag(row: Pick<KeyFound, "version" | "uses">): string {
  return `"${row.version}-${row.uses}"`;
}

/** Tells of a key; `previous` and what differs stand in `before` and `fields`. */
export function tellOfKey(
  ctx: Context,
  kind: EventKind,
  key: Key,
  change: { before?: Key; fields?: readonly string[]; gone?: boolean } = {},
): void {
  const { before, fields = [], gone = false } = change;
  ctx.emit(kind, {
    tenantId: key.tenantId,
    subject: key.id,
    path: `/key/${key.id}`,
    resource: gone ? null : key,
    previous: before ? Object.fromEntries(fields.map((field) => [field, before[field as keyof Key]])) : null,
    changed: fields,
  });
}
