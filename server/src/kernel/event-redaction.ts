import { sql } from "kysely";
import { type Db, query } from "./db.ts";

/** Takes the data out of all that was told about a subject in the tenant of the handle and below. The numbers stay. */
export async function redactLogged(db: Db, subject: string): Promise<void> {
  // The outbox first: what is being moved meanwhile is in the log when its turn comes.
  await db.run(query(sql`update kernel.outbox set data = '{"redacted": true}' where subject = ${subject}`));
  await db.run(query(sql`update kernel.event set data = '{"redacted": true}' where subject = ${subject}`));
}
