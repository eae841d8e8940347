/** The process: configuration, database, server, demo, drain on a signal. */
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import pino from "pino";
import { buildApp } from "./app.ts";
import { type Config, ConfigError, readConfig, release } from "./config.ts";
import { dropEverything, fillIfEmpty, firstStartWasCut, greet } from "./first-start.ts";
import { EmbeddedPostgresError, startEmbeddedPostgres } from "./kernel/embedded/lifecycle.ts";
import { startJobs } from "./kernel/jobs.ts";
import type { Settings } from "./kernel/kernel.ts";
import { createNamedDatabase, MigrationError, migrate } from "./kernel/migrate.ts";
import { loadMasterKeys, MasterKeyError, rereadMasterKeys } from "./kernel/secrets.ts";
import { takeStartLock } from "./start-lock.ts";

function settingsOf(config: Config, port: number): Settings {
  return {
    publicUrl: config.PUBLIC_URL || `http://localhost:${port}`,
    production: config.ENV === "production",
    dataDir: config.DATA_DIR,
    release,
    trustedProxies: config.TRUSTED_PROXIES,
    corsOrigins: config.CORS_ORIGINS,
    outboundAllow: config.OUTBOUND_ALLOW,
    tcpProbePorts: config.TCP_PROBE_PORTS.map(Number),
    passwordGrant: config.OAUTH_PASSWORD_GRANT,
    oauthAlgorithm: config.OAUTH_ALG,
    activityDays: config.ACTIVITY_DAYS,
    auditMonths: config.AUDIT_MONTHS,
    auditHeadsFile: config.AUDIT_HEADS_FILE && resolve(config.AUDIT_HEADS_FILE),
    tenantPurgeDays: config.TENANT_PURGE_DAYS,
    eventsDays: config.EVENTS_RETENTION_DAYS,
    docsAccess: config.DOCS_ACCESS,
    requestSeconds: config.REQUEST_SECONDS,
    stomp: stompSettingsOf(config),
    mail: { smtpUrl: config.SMTP_URL || null, from: config.MAIL_FROM },
  };
}

function stompSettingsOf(config: Config): Settings["stomp"] {
  const [sendMs, expectMs] = config.STOMP_HEART_BEAT.map(Number);
  const [principal, tenant, ofProcess] = config.STOMP_SESSIONS.map(Number);
  const logins = config.STOMP_CHAT_LOGINS.map((pair): [string, string] => {
    const colon = pair.indexOf(":");
    return [pair.slice(0, colon), pair.slice(colon + 1)];
  });
  return {
    loginSeconds: config.STOMP_LOGIN_SECONDS,
    preLoginBytes: config.STOMP_PRE_LOGIN_BYTES,
    heartBeat: [sendMs!, expectMs!],
    maxDeliveries: config.STOMP_MAX_DELIVERIES,
    origins: config.STOMP_ORIGINS,
    tcpPort: config.STOMP_TCP_PORT,
    sessions: { principal: principal!, tenant: tenant!, process: ofProcess! },
    chat:
      config.STOMP_PROFILE === "chat"
        ? { patterns: config.STOMP_CHAT_PATTERNS, logins: new Map(logins), path: config.STOMP_CHAT_PATH || null }
        : null,
  };
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  mkdirSync(config.DATA_DIR, { recursive: true, mode: 0o700 });
  const log = pino(
    { level: config.LOG_LEVEL, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: false, minLength: 4_096 }),
  );
  // Lines wait for a block's worth of others, but not while nothing else happens.
  setInterval(() => log.flush(), 1_000).unref();
  const keySource = {
    file: config.MASTER_KEY_FILE || undefined,
    inline: config.MASTER_KEYS || undefined,
    production: config.ENV === "production",
    dataDir: config.DATA_DIR,
    warn: (message: string) => log.warn(message),
  };
  const masterKeys = loadMasterKeys(keySource);
  const embedded = config.DATABASE_URL
    ? null
    : await startEmbeddedPostgres({
        dataDir: config.DATA_DIR,
        log: (message, fields) => log.info(fields ?? {}, message),
      });
  const databaseUrl = embedded ? await createNamedDatabase(embedded.url, "demarc") : config.DATABASE_URL;
  const releaseStart = await takeStartLock(databaseUrl, {
    onWait: () => log.info("another server is starting on this database: waiting for it"),
    onLost() {
      console.error("The database went away during the start.");
      process.exit(1);
    },
  });
  const migrations = new URL("../../migrations/", import.meta.url);
  const applied = await migrate(databaseUrl, migrations);
  if (applied.length > 0) log.info({ applied }, "database migrated");
  if (await firstStartWasCut(databaseUrl)) {
    log.warn("The first start was cut short before anybody could call: it is made anew.");
    await dropEverything(databaseUrl);
    await migrate(databaseUrl, migrations);
  }
  const app = await buildApp({
    settings: settingsOf(config, config.PORT),
    databaseUrl,
    pool: config.DATABASE_POOL,
    masterKeys,
    rereadMasterKeys: () => rereadMasterKeys(keySource),
    log,
    betaEnabled: config.BETA,
    limiter: config.LIMITER,
    redisUrl: config.REDIS_URL,
  });
  const first = await fillIfEmpty(app, databaseUrl, config.DEMO);
  const stopJobs = await startJobs(app.kernel, databaseUrl);
  await releaseStart();
  await app.http.listen({ host: config.HOST, port: config.PORT });
  greet(app.kernel.settings, first);

  let stopping = false;
  async function stop(signal: string): Promise<void> {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    await stopJobs();
    await app.close();
    await embedded?.stop();
    log.flush();
    process.exit(0);
  }
  process.on("SIGHUP", () => void app.masterKeyWatch.reread());
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
}

main().catch((error: Error & { code?: string }) => {
  if (error instanceof ConfigError) console.error(`Demarc cannot start with this configuration:\n${error.message}`);
  else if (error instanceof EmbeddedPostgresError || error instanceof MigrationError || error instanceof MasterKeyError)
    console.error(error.message);
  else if (error.code === "EADDRINUSE")
    console.error(`The port is taken: ${error.message}. Choose another one with DEMARC_PORT.`);
  else console.error(error);
  process.exit(1);
});
