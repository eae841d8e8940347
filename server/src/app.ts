/** Puts the parts together: the modules in boot order, the kernel under them, the front door before them. */
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { createActivity } from "./kernel/activity.ts";
import { countingKey } from "./kernel/address.ts";
import { type LimiterSettings, openBuckets } from "./kernel/bucket-choice.ts";
import { inTransaction, systemCaller } from "./kernel/context.ts";
import type { Module, Stop } from "./kernel/contract.ts";
import { createDataKeyStore, dataKeysChanged } from "./kernel/data-keys.ts";
import { openDatabase } from "./kernel/db.ts";
import { startDeliveries } from "./kernel/delivery/engine.ts";
import { createDocuments } from "./kernel/documents.ts";
import { prepareDrain } from "./kernel/drain.ts";
import { startEventLog } from "./kernel/event-log.ts";
import { buildHttp } from "./kernel/http.ts";
import { jobsOf } from "./kernel/jobs.ts";
import type { Kernel, Settings } from "./kernel/kernel.ts";
import { openListener } from "./kernel/listener.ts";
import { type MasterKeyWatch, watchMasterKeys } from "./kernel/master-key-watch.ts";
import { startOperations } from "./kernel/operation-runner.ts";
import { createAddressGuard } from "./kernel/outbound-guard.ts";
import { createPost } from "./kernel/post.ts";
import { joinProcesses } from "./kernel/processes.ts";
import { createSecrets, type MasterKeys } from "./kernel/secrets.ts";
import { createThrottle } from "./kernel/throttle.ts";
import type { Change } from "./kernel/version-changes.ts";
import { changes, createVersions, released, type Version } from "./kernel/versions.ts";
import {
  access,
  createAddressAlarm,
  createGate,
  createLastUse,
  createSealer,
  createTokenCheck,
  createWrongCredentialLimiter,
  ensureRoot,
  hasLogIn,
  tellQuota,
  verificationKeys,
} from "./modules/access/index.ts";
import { directory } from "./modules/directory/index.ts";
import { monitoring } from "./modules/monitoring/index.ts";
import { notifications } from "./modules/notifications/index.ts";

export const modules: readonly Module[] = [access, directory, monitoring, notifications];

export type AppParts = LimiterSettings & {
  settings: Settings;
  databaseUrl: string;
  pool: number;
  masterKeys: MasterKeys;
  /** Reads them again, from where they may have changed. */
  rereadMasterKeys?: () => MasterKeys;
  log: Logger;
  now?: () => Date;
  /** Tests plant modules and versions of their own. */
  modules?: readonly Module[];
  versions?: readonly Version[];
  changes?: readonly Change[];
  betaEnabled?: boolean;
};

export type App = {
  kernel: Kernel;
  http: FastifyInstance;
  rootId: string;
  masterKeyWatch: MasterKeyWatch;
  close(): Promise<void>;
};

/** Builds a server on a migrated database; the caller listens. `close` drains: calls under way are answered first. */
export async function buildApp(parts: AppParts): Promise<App> {
  const { log, settings } = parts;
  const now = parts.now ?? (() => new Date());
  const onLost = (error: Error) => log.warn({ err: error }, "a database connection was lost");
  const db = openDatabase({ url: parts.databaseUrl, role: "demarc_server", shared: 4, pool: parts.pool, onLost });
  const system = openDatabase({ url: parts.databaseUrl, role: "demarc_system", shared: 1, pool: 4, onLost });
  const secrets = await createSecrets(parts.masterKeys, createDataKeyStore(system), now);
  const masterKeyWatch = watchMasterKeys(parts.rereadMasterKeys ?? (() => parts.masterKeys), secrets, log);
  const listener = await openListener({ url: parts.databaseUrl, log });
  const processes = await joinProcesses({
    listener,
    system,
    log,
    release: settings.release,
    masterKids: secrets.masterKids,
  });
  await listener.listen(dataKeysChanged, (tenantId) => secrets.forget(tenantId ?? undefined));
  const rootId = await ensureRoot(system, now(), "Provider", "UTC");
  const activity = createActivity(system, log, () => rootId);
  const buckets = await openBuckets({ ...parts, processes });
  const throttle = createThrottle({ system, now, log, buckets, onQuota: (news) => void tellQuota(kernel, news) });
  const lastUse = createLastUse(system, now, log);
  const alarm = createAddressAlarm(() => kernel);
  const wrongCredentials = createWrongCredentialLimiter(system, () => now().getTime());
  const gate = createGate({
    system,
    now,
    isCurrent: processes.isCurrent,
    checkToken: createTokenCheck({ system, settings }),
    used: lastUse.used,
    wrong: async (address) => (await wrongCredentials.countWrong(countingKey(address)))?.retryAfterSeconds ?? null,
    addressRefused: alarm.refused,
  });
  processes.onForget(gate.forget);
  // What was taken away may be the keys that signed, with new ones in their place.
  processes.onForget(verificationKeys(system).expectNew);
  const pending = new Set<Promise<unknown>>();
  const base: Omit<Kernel, "operations" | "documents" | "mail" | "deliveries"> = {
    settings,
    now,
    log,
    db,
    system,
    listener,
    processes,
    events: await startEventLog({ system, listener, log, now }),
    secrets,
    versions: createVersions(
      parts.versions ?? released,
      parts.changes ?? changes,
      parts.betaEnabled ?? true,
      parts.modules ?? modules,
    ),
    throttle,
    activity,
    sealer: createSealer(system, log),
    modules: parts.modules ?? modules,
    gate,
    hasLogIn: (request) => hasLogIn(base as Kernel, request),
    guard: createAddressGuard({ allow: settings.outboundAllow }),
    forget: async () => processes.spread(await system.transaction("", processes.raise)),
    aside(work) {
      const guarded = work
        .catch((error) => log.error({ err: error }, "work aside of a reply failed"))
        .finally(() => pending.delete(guarded));
      pending.add(guarded);
    },
  };
  const kernel: Kernel = Object.assign(base, {
    documents: createDocuments(base),
    deliveries: await startDeliveries(base as Kernel),
    operations: startOperations(base as Kernel),
    mail: createPost(base as Kernel),
  });
  // No call makes the root tenant, so what modules keep of it is asked for at every start.
  const root = (await gate.tenant(rootId))!;
  await inTransaction(kernel, systemCaller(kernel, root, "start"), (ctx) => ctx.prepareTenant(root));
  for (const job of jobsOf(kernel)) if (job.atStart) await job.run(kernel);
  const http = await buildHttp(kernel);
  const drain = prepareDrain(http);
  const stops: Stop[] = [];
  for (const module of kernel.modules) if (module.start) stops.push(await module.start(kernel));
  return {
    kernel,
    http,
    rootId,
    masterKeyWatch,
    async close() {
      masterKeyWatch.stop();
      // Whoever follows the log is let go first: streams would keep the server open for ever.
      kernel.events.release();
      await drain();
      await Promise.all(pending);
      await kernel.mail.stop();
      await kernel.operations.stop();
      await kernel.deliveries.stop();
      for (const stop of stops.reverse()) await stop();
      await lastUse.stop();
      await alarm.stop();
      await throttle.stop();
      await activity.stop();
      await base.sealer.stop();
      await kernel.events.stop();
      await processes.stop();
      await listener.stop();
      await Promise.all([db.close(), system.close()]);
    },
  };
}
