/** What the processes tell each other about sessions and queues: hints, which the regular look-round makes up for. */
import { sql } from "kysely";
import { query, type Transaction } from "#kernel/db";

const channel = "demarc_stomp";

export type Told =
  /** Ended by REST. */
  | { kind: "end"; sessionId: string }
  /** A durable of it is another session's now. */
  | { kind: "taken"; sessionId: string }
  /** Something lies ready again. */
  | { kind: "ready"; queueId: string };

export async function tellProcesses(tx: Pick<Transaction, "run">, told: Told): Promise<void> {
  await tx.run(query(sql`select pg_notify(${channel}, ${JSON.stringify(told)})`));
}

/** Hears what is told; null: something may have been missed. */
export function hearProcesses(
  listener: { listen(name: string, heard: (payload: string | null) => void): Promise<void> },
  heard: (told: Told | null) => void,
): Promise<void> {
  return listener.listen(channel, (payload) => heard(payload === null ? null : (JSON.parse(payload) as Told)));
}
