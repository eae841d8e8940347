/**
 * Tells the owner when a right key is shown from an address outside its list: whoever has it should not. The call itself
 * gets the ordinary 401 and waits for nothing of this. Once an hour per key and address, whatever the number of processes.
 */
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import { countingKey } from "#kernel/address";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { TenantCard } from "#kernel/principal";
import { keyAddressRefused } from "./events.ts";
import { keyOf, readKey } from "./rows.ts";

export type AddressAlarm = {
  refused(keyId: string, tenant: TenantCard, address: string): void;
  /** Waits for what is being told. */
  stop(): Promise<void>;
};

export const quietMs = 3_600_000;

/** `kernelOf`: the gate that reports to this stands below the kernel, so it is asked for at the time. */
export function createAddressAlarm(kernelOf: () => Kernel): AddressAlarm {
  const told = new LRUCache<string, number>({ max: 20_000 });
  const under = new Set<Promise<void>>();

  async function tell(keyId: string, tenant: TenantCard, address: string): Promise<void> {
    const kernel = kernelOf();
    await inTransaction(kernel, systemCaller(kernel, tenant, "watch_key_addresses"), async (ctx) => {
      const first = await ctx.db.run(
        query(sql`insert into access.key_refusal as r (tenant_id, key_id, address, told_at)
          values (${tenant.id}, ${keyId}, ${address}, ${ctx.now})
          on conflict (key_id, address) do update set told_at = excluded.told_at
            where r.told_at <= ${new Date(ctx.now.getTime() - quietMs)}`),
      );
      if (first === 0) return;
      const key = keyOf(await readKey(ctx, keyId));
      ctx.emit(keyAddressRefused, {
        tenantId: key.tenantId,
        subject: key.id,
        path: `/key/${key.id}`,
        resource: key,
        previous: null,
        changed: [],
        adds: { address },
      });
    });
  }

  return {
    refused(keyId, tenant, address) {
      const place = countingKey(address);
      const name = `${keyId} ${place}`;
      const at = kernelOf().now().getTime();
      const before = told.get(name);
      if (before !== undefined && at - before < quietMs) return;
      told.set(name, at);
      const work = tell(keyId, tenant, place).catch((error) => {
        told.delete(name);
        kernelOf().log.warn({ err: error, keyId }, "a foreign address of a key could not be told");
      });
      under.add(work);
      void work.finally(() => under.delete(work));
    },
    async stop() {
      await Promise.all(under);
    },
  };
}
