/**
 * What other processes say: one LISTEN connection per process, opened anew whenever it is lost. Notifications are hints:
 * one that was sent while the connection was away never arrives, so whoever listens is told when it is new, and looks for
 * itself. Statements that must share the connection's fate, such as the heartbeat, go over it too.
 */
import type { Socket } from "node:net";
import pg from "pg";
import type { Logger } from "pino";

/** `payload` is what was sent; null: the connection is new, and anything may have been missed. */
export type Heard = (payload: string | null) => void;

export type Listener = {
  /** Hears a channel from now on; while the connection is away, from when it is back. `heard` must not throw. */
  listen(channel: string, heard: Heard): Promise<void>;
  /** Whether the connection stands, as far as this side can know. */
  isUp(): boolean;
  /** A statement on this very connection, as `demarc_system`; fails at once while it is away. */
  ask<T extends object>(text: string, values?: unknown[]): Promise<T[]>;
  /** Gives the connection up and opens another: for one that does not answer. */
  renew(): void;
  stop(): Promise<void>;
};

const mostPauseMs = 1_000;
/** How the connection is called in `pg_stat_activity`. */
export const listenerName = "demarc listener";

type Parts = { url: string; log: Logger };

/** Opens the listener; resolves when it stands. @throws when the database cannot be reached at the start. */
export async function openListener({ url, log }: Parts): Promise<Listener> {
  const channels = new Map<string, Set<Heard>>();
  let current: pg.Client | null = null;
  let stopped = false;
  let pause: NodeJS.Timeout | undefined;

  async function connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: url,
      options: "-c role=demarc_system",
      application_name: listenerName,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    });
    // What breaks the connection ends it too, and the end is what counts.
    client.on("error", () => {});
    client.on("end", () => lost(client));
    client.on("notification", ({ channel, payload }) => {
      if (client === current) tell(channel, payload ?? "");
    });
    try {
      await client.connect();
      for (const channel of channels.keys()) await client.query(`listen ${pg.escapeIdentifier(channel)}`);
    } catch (error) {
      void client.end().catch(() => {});
      throw error;
    }
    if (stopped) return void client.end();
    current = client;
    for (const channel of channels.keys()) tell(channel, null);
  }

  function tell(channel: string, payload: string | null): void {
    for (const heard of channels.get(channel) ?? []) heard(payload);
  }

  function lost(client: pg.Client): void {
    if (client !== current) return;
    current = null;
    if (stopped) return;
    log.warn("the connection that hears of other processes was lost");
    again(0);
  }

  function again(tries: number): void {
    // Apart by chance, so that the processes of an installation do not come back in one moment.
    const pauseMs = Math.min(mostPauseMs, 50 * 2 ** tries) * (0.5 + Math.random() / 2);
    pause = setTimeout(() => {
      if (!stopped) connect().catch(() => again(Math.min(tries + 1, 10)));
    }, pauseMs);
    pause.unref();
  }

  function renew(): void {
    const client = current;
    if (!client) return;
    lost(client);
    // Without waiting for a goodbye: the other side may not be there.
    (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }

  await connect();
  return {
    async listen(channel, heard) {
      const known = channels.get(channel);
      if (known) return void known.add(heard);
      channels.set(channel, new Set([heard]));
      // If the connection goes in this moment, the next one listens to all channels.
      await current?.query(`listen ${pg.escapeIdentifier(channel)}`).catch(renew);
    },
    isUp: () => current !== null,
    async ask<T extends object>(text: string, values: unknown[] = []) {
      if (!current) throw new Error("The connection that hears of other processes is away.");
      return (await current.query<T>(text, values)).rows;
    },
    renew,
    async stop() {
      stopped = true;
      clearTimeout(pause);
      const client = current;
      current = null;
      await client?.end().catch(() => {});
    },
  };
}
