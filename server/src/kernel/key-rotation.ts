/**
 * The way from one master key to another (access, section 9), beside servers that go on: data keys are wrapped anew, and
 * where that is asked for data keys are replaced and every value is sealed anew. All of it may be interrupted anywhere and
 * begun again: a value opens with the key that it names, whichever that is.
 */
import { sql } from "kysely";
import type { Module } from "./contract.ts";
import { columns as dataKeyColumns, dataKeysChanged } from "./data-keys.ts";
import { type Database, query } from "./db.ts";
import { SealedValueError, type Secrets, type WrappedKey } from "./secrets.ts";

/** A column of sealed values, as its module states it. `rowId`: SQL for the row's id in the place that values are bound to. */
export type SealedColumn = { table: string; column: string; rowId: string };

const batchSize = 500;

/** The sealed columns of the kernel and of all modules. */
export function sealedColumns(modules: readonly Module[]): SealedColumn[] {
  const ofKernel = [
    {
      table: "kernel.idempotency",
      column: "sealed_body",
      rowId: String.raw`translate(encode(record_key, 'base64'), E'+/=\n', '-_')`,
    },
    { table: "kernel.mail", column: "content_sealed", rowId: "id" },
  ];
  return [...ofKernel, ...modules.flatMap((module) => module.sealed ?? [])];
}

export type LiveProcess = { id: string; masterKids: string[] };

/** The processes with a heartbeat younger than 3 s, and the master keys they hold, the active one first. */
export function liveProcesses(system: Database): Promise<LiveProcess[]> {
  return system.in("").rows(
    query(sql`select id, master_kids as "masterKids" from kernel.process
        where heartbeat_at > clock_timestamp() - interval '3 seconds' order by started_at`),
  );
}

export type MasterKeyUse = { kid: string; dataKeys: number };

/** How many data keys are wrapped under each master key. */
export function countDataKeys(system: Database): Promise<MasterKeyUse[]> {
  return system
    .in("")
    .rows(
      query(
        sql`select master_kid as kid, count(*)::int as "dataKeys" from kernel.data_key group by master_kid order by master_kid`,
      ),
    );
}

/** Wraps all data keys under the active master key; returns how many were wrapped anew. */
export async function rewrapDataKeys(system: Database, secrets: Secrets): Promise<number> {
  const [activeKid] = secrets.masterKids();
  for (let total = 0; ; ) {
    const keys = await system
      .in("")
      .rows(
        query<WrappedKey>(
          sql`select ${dataKeyColumns} from kernel.data_key where master_kid <> ${activeKid} order by id limit ${batchSize}`,
        ),
      );
    if (keys.length === 0) return total;
    const rows = keys.map((key) => {
      const { masterKid, wrapped } = secrets.rewrap(key);
      return { id: key.id, before: key.masterKid, master_kid: masterKid, wrapped: wrapped.toString("hex") };
    });
    total += await system.in("").run(
      query(sql`update kernel.data_key k set master_kid = r.master_kid, wrapped = decode(r.wrapped, 'hex')
          from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as r(id text, before text, master_kid text, wrapped text)
          where k.id = r.id and k.master_kid = r.before`),
    );
  }
}

/** Gives every tenant a new data key and tells all processes to use it; returns how many there are. */
export async function renewDataKeys(system: Database, secrets: Secrets): Promise<number> {
  const tenants = await system
    .in("")
    .rows(query<{ id: string }>(sql`select tenant_id as id from kernel.data_key where purpose = 'seal' and active`));
  for (const { id } of tenants) {
    await secrets.renewKey(id);
    await system.in("").run(query(sql`select pg_notify(${dataKeysChanged}, ${id})`));
  }
  return tenants.length;
}

type SealedRow = { place: string; tenantId: string; rowId: string; sealed: string };
export type Resealed = { values: number; unopened: string[] };

/** Seals anew what is not under its tenant's active data key. What does not open is left as it is, and named. */
export async function resealColumn(
  system: Database,
  secrets: Secrets,
  { table, column, rowId }: SealedColumn,
): Promise<Resealed> {
  const [name, value, id] = [sql.raw(table), sql.raw(column), sql.raw(rowId)];
  const unopened: string[] = [];
  for (let values = 0; ; ) {
    const rows = await system.in("").rows(
      query<SealedRow>(sql`select ctid::text as place, tenant_id as "tenantId", ${id} as "rowId", ${value} as sealed
        from ${name} where ${value} is not null and ${id} <> all(${unopened})
          and split_part(${value}, '.', 2) not in (select id from kernel.data_key where active and purpose = 'seal')
        limit ${batchSize}`),
    );
    if (rows.length === 0) return { values, unopened };
    const anew: { place: string; before: string; after: string }[] = [];
    for (const row of rows) {
      try {
        const place = { table, column, rowId: row.rowId };
        const plain = await secrets.open(row.tenantId, place, row.sealed);
        anew.push({ place: row.place, before: row.sealed, after: await secrets.seal(row.tenantId, place, plain) });
      } catch (error) {
        if (!(error instanceof SealedValueError)) throw error;
        unopened.push(row.rowId);
      }
    }
    // A row that was changed meanwhile has moved, or holds another value: the next round sees to it.
    values += await system.in("").run(
      query(sql`update ${name} t set ${value} = r.after
        from jsonb_to_recordset(${JSON.stringify(anew)}::jsonb) as r(place text, before text, after text)
        where t.ctid = r.place::tid and t.${value} = r.before`),
    );
  }
}
