import type { Logger } from "pino";
import type { MasterKeys } from "./master-keys.ts";
import type { Secrets } from "./secrets.ts";

const everyMs = 30_000;

export type MasterKeyWatch = {
  /** Reads the keys again now; what cannot be used is logged, and the keys at hand go on serving. */
  reread(): Promise<void>;
  stop(): void;
};

/** Takes over the keys of a changed file, every 30 s and when asked to. `read` throws MasterKeyError. */
export function watchMasterKeys(read: () => MasterKeys, secrets: Secrets, log: Logger): MasterKeyWatch {
  async function reread(): Promise<void> {
    try {
      if (await secrets.useMasterKeys(read())) log.info({ masterKids: secrets.masterKids() }, "master keys taken over");
    } catch (error) {
      log.error({ err: error }, "the master keys were not taken over; those at hand go on serving");
    }
  }
  const timer = setInterval(() => void reread(), everyMs);
  timer.unref();
  return { reread, stop: () => clearInterval(timer) };
}
