import { sql } from "kysely";
import { type Database, query } from "./db.ts";
import type { CheckValue, DataKeyStore, KeyPurpose, WrappedKey } from "./secrets.ts";

/** A row of kernel.data_key as a WrappedKey. */
export const columns = sql`id, tenant_id as "tenantId", purpose, master_kid as "masterKid", wrapped, seals_reserved as "sealsReserved", created_at as "createdAt"`;

/** The channel that names a tenant whose data keys were destroyed or replaced. */
export const dataKeysChanged = "demarc_data_keys";

/** Data keys in the database, each change a transaction of its own: a key outlives the call that first needed it. */
export function createDataKeyStore(system: Database): DataKeyStore {
  const db = system.in("");
  async function active(tenantId: string, purpose: KeyPurpose): Promise<WrappedKey | null> {
    return (
      (await db.first(
        query<WrappedKey>(
          sql`select ${columns} from kernel.data_key where tenant_id = ${tenantId} and purpose = ${purpose} and active`,
        ),
      )) ?? null
    );
  }
  return {
    active,
    async byId(id) {
      return (await db.first(query<WrappedKey>(sql`select ${columns} from kernel.data_key where id = ${id}`))) ?? null;
    },
    async insert(key, replaces) {
      const stored = await system.transaction("", async (tx) => {
        await tx.run(
          query(sql`select pg_advisory_xact_lock(hashtextextended(${`data_key ${key.tenantId} ${key.purpose}`}, 0))`),
        );
        const current = await tx.first(
          query<{ id: string }>(
            sql`select id from kernel.data_key where tenant_id = ${key.tenantId} and purpose = ${key.purpose} and active`,
          ),
        );
        if ((current?.id ?? null) !== replaces) return false;
        await tx.run(query(sql`update kernel.data_key set active = false where id = ${replaces}`));
        await tx.run(
          query(sql`insert into kernel.data_key (tenant_id, id, purpose, active, master_kid, wrapped, seals_reserved, created_at)
            values (${key.tenantId}, ${key.id}, ${key.purpose}, true, ${key.masterKid}, ${key.wrapped}, ${key.sealsReserved}, ${key.createdAt})`),
        );
        return true;
      });
      return stored ? key : (await active(key.tenantId, key.purpose))!;
    },
    async reserveSeals(id, count) {
      const row = await db.first(
        query<{ sum: number }>(
          sql`update kernel.data_key set seals_reserved = seals_reserved + ${count} where id = ${id} returning seals_reserved as sum`,
        ),
      );
      return row?.sum ?? null;
    },
    async destroyAll(tenantId) {
      await db.run(
        query(sql`with gone as (delete from kernel.data_key where tenant_id = ${tenantId} returning id)
          select pg_notify(${dataKeysChanged}, ${tenantId}) where exists (select from gone)`),
      );
    },
    async masterKidsInUse() {
      return (await db.rows(query<{ kid: string }>(sql`select distinct master_kid as kid from kernel.data_key`))).map(
        ({ kid }) => kid,
      );
    },
    checkValues: () => db.rows(query(sql`select kid, value from kernel.master_key_check`)),
    async addCheckValue({ kid, value }) {
      await db.run(
        query(sql`insert into kernel.master_key_check (kid, value) values (${kid}, ${value}) on conflict do nothing`),
      );
      return (await db.first(
        query<CheckValue>(sql`select kid, value from kernel.master_key_check where kid = ${kid}`),
      ))!;
    },
  };
}
