/**
 * The authorization server's parts and the rules that all its addresses share: who is a client, whose calls these are in
 * the log, how many may come, and whether a tenant takes part at all.
 */
import type { FastifyRequest } from "fastify";
import { countingKey } from "#kernel/address";
import type { Kernel } from "#kernel/kernel";
import type { TenantCard } from "#kernel/principal";
import {
  createGuessGuard,
  createWrongCredentialLimiter,
  type GuessGuard,
  type WrongCredentialLimiter,
} from "../guess-guard.ts";
import { createLastUse, type LastUse } from "../key/last-use.ts";
import { keepGuard } from "../log-in-guard.ts";
import { createSigner, type Signer } from "../signing-key/signer.ts";
import { createTokenReader, type TokenReader } from "./access-token.ts";
import { authenticateClient, type ClientStore, createClientStore, type OAuthClient } from "./client.ts";
import { comeAgain, OAuthError } from "./error.ts";
import type { Form } from "./form.ts";
import { loginSuccesses } from "./log-in.ts";

export type AuthorizationServer = {
  kernel: Kernel;
  signer: Signer;
  readToken: TokenReader;
  clients: ClientStore;
  clientUse: LastUse;
  guard: GuessGuard;
  wrongSecrets: WrongCredentialLimiter;
  /** Work that no reply waits for; the server's end does. */
  aside(work: Promise<unknown>): void;
  settled(): Promise<void>;
};

export function createAuthorizationServer(kernel: Kernel): AuthorizationServer {
  const now = () => kernel.now().getTime();
  const pending = new Set<Promise<unknown>>();
  const clientUse = createLastUse(kernel.system, kernel.now, kernel.log, "client");
  return {
    kernel,
    signer: createSigner(kernel),
    readToken: createTokenReader(kernel),
    clients: createClientStore(kernel.system, kernel.processes),
    clientUse,
    guard: keepGuard(kernel, createGuessGuard(kernel.system, now, loginSuccesses(kernel))),
    wrongSecrets: createWrongCredentialLimiter(kernel.system, now),
    aside(work) {
      const guarded = work
        .catch((error) => kernel.log.error({ err: error }, "a record of the authorization server could not be written"))
        .finally(() => pending.delete(guarded));
      pending.add(guarded);
    },
    async settled() {
      await Promise.all(pending);
      await clientUse.stop();
    },
  };
}

/** The client of a call. What it is, or was taken for, stands in the log from here on. */
export async function clientOf(server: AuthorizationServer, request: FastifyRequest, form: Form): Promise<OAuthClient> {
  const { kernel, clients, clientUse, wrongSecrets } = server;
  const { visit } = request;
  const client = await authenticateClient(clients, request.raw, form, kernel.now(), async () => {
    visit.reason = "unknown";
    const wait = await wrongSecrets.countWrong(countingKey(visit.address));
    return (
      wait && comeAgain("credential_throttled", "Too many wrong credentials from this address.", wait.retryAfterSeconds)
    );
  });
  visit.ownerTenantId = client.tenantId;
  if (client.public) {
    // Nothing is proved yet, and each look at what it brings costs the database.
    await chargeStranger(server, visit.address);
    return client;
  }
  await charge(server, client.id);
  clientUse.used(client.id, visit.address);
  return client;
}

const rate = { ratePerSecond: 5, burst: 20 };

/** The bucket of token calls, one per client or user: charged once its credential has proved right. */
export async function charge({ kernel }: AuthorizationServer, id: string): Promise<void> {
  const wait = await kernel.throttle.chargeApart(`oauth ${id}`, rate);
  if (wait !== null) throw comeAgain("rate_limited", "Too Many Requests", wait);
}

/** The bucket of what is open to all, one per address (access, section 6). */
async function chargeStranger({ kernel }: AuthorizationServer, address: string): Promise<void> {
  const wait = await kernel.throttle.chargeAddress(address);
  if (wait !== null) throw comeAgain("rate_limited", "Too Many Requests", wait);
}

/**
 * Whether a tenant takes part: asked only after its client or user has proved right, so a stranger learns nothing. null:
 * it is being purged.
 */
export function requireOpenTenant(tenant: TenantCard | null, clientId: string): asserts tenant is TenantCard {
  if (!tenant || tenant.suspended) {
    throw new OAuthError("unauthorized_client", "The tenant is suspended.", { code: "tenant_suspended" });
  }
  // The console works on where the API is off: people must not be shut out.
  if (!tenant.features.has("api") && clientId !== "demarc-console") {
    throw new OAuthError("unauthorized_client", "The API is not enabled for this tenant.", { code: "api_not_enabled" });
  }
}
