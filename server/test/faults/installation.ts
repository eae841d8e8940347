/** Several servers on one database, each the whole process as a user starts it. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { Agent, request } from "undici";
import { told } from "../check-event.ts";
import { createTestDatabase } from "../database.ts";
import { firstKey } from "../set-up.ts";
import { dataDir, ended, freePort, launch, type Process, start } from "./process.ts";

export type Reply = { status: number; headers: Record<string, string | string[] | undefined>; text: string; body: any };
export type Installation = Awaited<ReturnType<typeof startInstallation>>;

/** Starts `count` servers at one moment on a fresh database; the plan of their provider allows any rate. */
export async function startInstallation(count: number, more: Record<string, string> = {}) {
  const database = more.DEMARC_DATABASE_URL ? null : await createTestDatabase();
  const shared = {
    DEMARC_DATABASE_URL: database?.url ?? "",
    DEMARC_MASTER_KEYS: `test:${randomBytes(32).toString("base64")}`,
    DEMARC_PUBLIC_URL: "http://localhost:8080",
    DEMARC_DEMO: "off",
    DEMARC_LOG_LEVEL: "warn",
    ...more,
  };
  const settings = await Promise.all(
    Array.from({ length: count }, async () => ({
      ...shared,
      DEMARC_PORT: String(await freePort()),
      DEMARC_DATA_DIR: dataDir(),
    })),
  );
  const servers = await Promise.all(settings.map((each) => start(each)));
  const owner = new pg.Pool({ connectionString: shared.DEMARC_DATABASE_URL, max: 2 });
  owner.on("error", () => {});
  if (database) await owner.query(told);
  const agent = new Agent({ connections: 64, keepAliveTimeout: 60_000 });
  const key = (await firstKey(servers[0]!.output(), servers[0]!.url))!;

  /** One call to one of the servers; rejects when the connection ends before the reply. */
  async function call(
    server: Process,
    method: "GET" | "POST" | "PATCH" | "DELETE",
    path: string,
    ask: { key?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Reply> {
    const headers: Record<string, string> = { "x-api-key": ask.key ?? key, ...ask.headers };
    if (ask.body !== undefined) headers["content-type"] = "application/json";
    const answer = await request(server.url + path, {
      method,
      headers,
      body: ask.body === undefined ? null : JSON.stringify(ask.body),
      dispatcher: agent,
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, headers: answer.headers, text, body: text ? JSON.parse(text) : null };
  }

  const lane = { ratePerSecond: 10_000, burst: 100_000, perDay: 1_000_000_000 };
  const plan = (await call(servers[0]!, "GET", "/v1/plan")).body.items[0].id as string;
  await call(servers[0]!, "PATCH", `/v1/plan/${plan}`, { body: { lanes: { api: lane } } });

  return {
    /** In place of a server that was killed stands, after `restart`, the new one. */
    servers,
    settings,
    key,
    call,
    launch: (index: number) => launch(settings[index]!),
    /** Kills a server and starts it again. */
    async restart(index: number): Promise<void> {
      await ended(servers[index]!.child, "SIGKILL");
      servers[index] = await start(settings[index]!);
    },
    /** As the owner of the database. */
    sql: async (text: string, values: unknown[] = []): Promise<any[]> => (await owner.query(text, values)).rows,
    async end(): Promise<void> {
      await Promise.all(servers.map((server) => ended(server.child, "SIGTERM")));
      await agent.destroy();
      await owner.end();
      await database?.drop();
    },
  };
}
