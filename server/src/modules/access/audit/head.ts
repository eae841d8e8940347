/** Signed ends of chains (access, section 8): what shows, to who kept one, that a chain was rewritten or cut short. */
import { type KeyObject, sign } from "node:crypto";
import { appendFile, open } from "node:fs/promises";
import canonicalize from "canonicalize";
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import { auditHeadSigned } from "./events.ts";
import { headSigner } from "./head-key.ts";
import type { AuditHead } from "./schema.ts";

export type HeadRow = {
  tenant_id: string;
  position: number;
  seq: number;
  hash: Buffer;
  at: Date;
  kid: string;
  signature: string;
  starts: boolean;
};
/** The end of a chain, before it is signed. */
export type ChainEnd = { tenantId: string; seq: number; hash: Buffer };

export function headOf(row: Omit<HeadRow, "position">): AuditHead {
  return {
    tenantId: row.tenant_id,
    seq: row.seq,
    hash: row.hash.toString("hex"),
    at: row.at.toISOString(),
    kid: row.kid,
    // Only where it is so: an ordinary head has no such member, in what is signed neither.
    ...(row.starts ? { starts: true } : {}),
    signature: row.signature,
  };
}

function signed(end: ChainEnd, at: Date, starts: boolean, { kid, key }: { kid: string; key: KeyObject }) {
  const row = { tenant_id: end.tenantId, seq: end.seq, hash: end.hash, at, kid, starts, signature: "" };
  const { signature: _, ...head } = headOf(row);
  return { ...row, signature: sign(null, Buffer.from(canonicalize(head)!), key).toString("base64url") };
}

const rootTenant = query<{ id: string }>(sql`select id from access.tenant where parent_id is null`);
const batchSize = 200;

/** Signs ends, appends them to the file of heads, stores and tells them. `starts`: chains begin behind them from now on. */
export async function signHeads(kernel: Kernel, ends: readonly ChainEnd[], starts: boolean): Promise<void> {
  if (ends.length === 0) return;
  const root = (await kernel.gate.tenant((await kernel.system.in("").first(rootTenant))!.id))!;
  const signer = await headSigner(kernel, root.id);
  for (let from = 0; from < ends.length; from += batchSize) {
    const at = kernel.now();
    const rows = ends.slice(from, from + batchSize).map((end) => signed(end, at, starts, signer));
    const heads = rows.map(headOf);
    // Before they are stored: a head that is told of and missing in the file would look like one taken out of it.
    await appendHeads(kernel.settings.auditHeadsFile, heads);
    await inTransaction(kernel, systemCaller(kernel, root, "sign_audit_heads"), async (ctx) => {
      const values = rows.map((row) => ({ ...row, hash: row.hash.toString("hex") }));
      await ctx.db.run(
        query(sql`insert into access.audit_head (tenant_id, seq, hash, at, kid, signature, starts)
          select tenant_id, seq, decode(hash, 'hex'), at, kid, signature, starts
          from jsonb_to_recordset(${JSON.stringify(values)}::jsonb) as r(tenant_id text, seq bigint, hash text, at timestamptz, kid text, signature text, starts boolean)`),
      );
      for (const head of heads) {
        ctx.emit(auditHeadSigned, {
          tenantId: head.tenantId,
          subject: `${head.tenantId}/${head.seq}`,
          path: "/audit/head",
          resource: head,
          previous: null,
          changed: [],
        });
      }
    });
  }
}

async function appendHeads(file: string, heads: readonly AuditHead[]): Promise<void> {
  if (file === "") return;
  const handle = await open(file, "a", 0o640);
  try {
    await appendFile(handle, heads.map((head) => `${canonicalize(head)}\n`).join(""));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Chains that grew since their last head, and, once a UTC day, all others: so that a silent day is signed for too. */
const unsignedEnds = (day: Date) =>
  query<ChainEnd>(sql`select t.id as "tenantId", e.seq, e.hash from access.tenant t
    cross join lateral (select seq, hash from access.audit_seal where tenant_id = t.id order by seq desc limit 1) e
    left join lateral (select seq, at from access.audit_head where tenant_id = t.id order by position desc limit 1) h on true
    where h.seq is null or h.seq < e.seq or h.at < ${day} order by t.id`);

/** Signs the end of every chain that has news, or that nobody signed for today. */
export async function signNewHeads(kernel: Kernel): Promise<void> {
  await kernel.sealer.sealNow();
  const day = new Date(`${kernel.now().toISOString().slice(0, 10)}T00:00:00.000Z`);
  await signHeads(kernel, await kernel.system.in("").rows(unsignedEnds(day)), false);
}
