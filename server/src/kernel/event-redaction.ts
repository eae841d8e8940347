import { sql } from "kysely";
import { type Db, query } from "./db.ts";

/** Takes the data out of all that was told, or waits to be sent, about a subject of a tenant. The numbers stay. */
export async function redactLogged(db: Db, tenantId: string, subject: string): Promise<void> {
  const about = sql`set data = '{"redacted": true}' where tenant_id = ${tenantId} and subject = ${subject}`;
  // The outbox first: what is being moved meanwhile is in the log when its turn comes.
  await db.run(query(sql`update kernel.outbox ${about}`));
  await db.run(query(sql`update kernel.event ${about}`));
  await db.run(query(sql`select kernel.redact_deliveries(${tenantId}, ${subject})`));
}
