/**
 * Whether this process is alone on its database (access, section 6). Who is alone holds an advisory lock by itself;
 * processes beside each other hold it together. A new process that finds it held asks the holder to make room, and waits
 * until it has: from then on both count in the database. Who is left over takes it by itself again.
 */
import pg from "pg";
import type { Logger } from "pino";
import { within } from "./bucket-shared.ts";
import type { Stop } from "./contract.ts";

/** How the session is called in `pg_stat_activity`. */
const sessionName = "demarc limits";
const lockKey = 7_301_946_071;
const channel = "demarc_limiter";
const askEveryMs = 25;
const patienceMs = 5_000;
const lookEveryMs = 10_000;
const reconnectMs = 1_000;

type Parts = {
  databaseUrl: string;
  log: Logger;
  /** How many processes there are, this one included, as far as is known. */
  live(): number;
  /** `heard` is called whenever that number is another one. */
  onChange(heard: () => void): void;
  /** Nobody else counts any more: called before this process acts on it. */
  alone(): Promise<void>;
  /** Somebody else may count from now on: nobody does before this has ended. */
  accompanied(): Promise<void>;
};

export async function watchCompany({ databaseUrl, log, live, onChange, alone, accompanied }: Parts): Promise<Stop> {
  let session: pg.Client | undefined;
  let standing: "none" | "alone" | "beside" = "none";
  let closed = false;
  let again: NodeJS.Timeout | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** One step after another: a holder that is asked for room while it takes the lock answers afterwards. */
  function inTurn(client: pg.Client, step: () => Promise<void>): void {
    turn = turn
      .then(() => (client === session && !closed ? step() : undefined))
      .catch(() => client.end().catch(() => {}));
  }
  const ask = async (client: pg.Client, call: string): Promise<boolean> =>
    (await client.query(`select ${call}(${lockKey}) as yes`)).rows[0].yes;

  async function takeAlone(client: pg.Client): Promise<void> {
    // After a restart of the database nobody holds it, and those who were there come back one by one.
    if (live() > 1 || !(await ask(client, "pg_try_advisory_lock"))) return;
    await alone();
    if (standing === "beside") await ask(client, "pg_advisory_unlock_shared");
    standing = "alone";
  }

  async function makeRoom(client: pg.Client): Promise<void> {
    if (standing !== "alone") return;
    await accompanied();
    // First the one, then the other: in between nobody could take it alone.
    await ask(client, "pg_try_advisory_lock_shared");
    await ask(client, "pg_advisory_unlock");
    standing = "beside";
  }

  async function stepBeside(client: pg.Client): Promise<void> {
    while (client === session && !closed) {
      // Asked for each time: a holder that was only about to take the lock has not heard it.
      await client.query(`notify ${channel}`);
      if (await ask(client, "pg_try_advisory_lock_shared")) {
        standing = "beside";
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, askEveryMs));
    }
  }

  async function connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: databaseUrl,
      application_name: sessionName,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    });
    session = client;
    client.on("error", () => {});
    client.once("end", () => lose(client));
    client.on("notification", () => inTurn(client, () => makeRoom(client)));
    await client.connect();
    await client.query(`listen ${channel}`);
    await takeAlone(client);
    if (standing === "alone") return;
    const beside = stepBeside(client);
    await within(patienceMs, beside).catch((error) => {
      if (client !== session) throw error;
      // A holder that hangs admits nobody; a host that vanished keeps its lock until the network notices.
      log.warn("limits: another process holds on to its counts and does not answer; this one goes on without them");
      beside.catch(() => client.end().catch(() => {}));
    });
  }

  function lose(client: pg.Client): void {
    if (client !== session || closed) return;
    session = undefined;
    const was = standing;
    standing = "none";
    turn = turn.then(() => (was === "alone" ? accompanied() : undefined)).catch(() => {});
    again = setTimeout(() => {
      turn = turn.then(connect).catch(() => {
        if (session) lose(session);
      });
    }, reconnectMs);
  }

  function look(): void {
    const client = session;
    if (client && standing === "beside") inTurn(client, () => takeAlone(client));
  }
  onChange(look);
  // Who left may have left its lock behind for a moment.
  const looking = setInterval(look, lookEveryMs);
  looking.unref();

  await connect().catch((error) => {
    closed = true;
    throw error;
  });
  return async () => {
    closed = true;
    clearInterval(looking);
    clearTimeout(again);
    await session?.end().catch(() => {});
  };
}
