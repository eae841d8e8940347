/** The credential, from the environment alone: what stands in a command line is seen by everybody on the machine. */
import { Broken, CredentialRefused, retryAfterMs, usage, wordsOf } from "./faults.ts";

/** The headers that carry the credential; asked for anew before every connection. */
export type Credential = (stop: AbortSignal) => Promise<Record<string, string>>;

const replyMs = 30_000;

/**
 * Reads what the environment has: DEMARC_CLIENT_ID and DEMARC_CLIENT_SECRET, DEMARC_API_KEY, or DEMARC_TOKEN.
 * @throws Stop (usage) when it has none of them, or several
 */
export function readCredential(env: NodeJS.ProcessEnv, url: string): Credential {
  const { DEMARC_CLIENT_ID: id, DEMARC_CLIENT_SECRET: secret, DEMARC_API_KEY: key, DEMARC_TOKEN: token } = env;
  if ([id || secret, key, token].filter(Boolean).length !== 1)
    throw usage(
      "Set one credential in the environment: DEMARC_CLIENT_ID with DEMARC_CLIENT_SECRET, DEMARC_API_KEY, or DEMARC_TOKEN.",
    );
  if (key) return async () => ({ "x-api-key": key });
  if (token) return async () => ({ authorization: `Bearer ${token}` });
  if (!id || !secret) throw usage("DEMARC_CLIENT_ID and DEMARC_CLIENT_SECRET belong together.");
  const address = env.DEMARC_TOKEN_URL || `${url}/oauth/token`;
  if (!URL.canParse(address)) throw usage("DEMARC_TOKEN_URL is no address.");
  return async (stop) => ({ authorization: `Bearer ${await fetchToken(address, id, secret, stop)}` });
}

/** By client credentials (RFC 6749, section 4.4). */
async function fetchToken(address: string, id: string, secret: string, stop: AbortSignal): Promise<string> {
  const pair = [id, secret].map(encodeURIComponent).join(":");
  const reply = await fetch(address, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
    redirect: "manual",
    signal: AbortSignal.any([stop, AbortSignal.timeout(replyMs)]),
  }).catch((error: unknown) => {
    throw new Broken(`No token from ${address}: ${wordsOf(error)}`);
  });
  const body = (await reply.json().catch(() => ({}))) as Record<string, unknown> | null;
  if (reply.ok && typeof body?.access_token === "string") return body.access_token;
  const words = `${address} gave no token: ${reply.status} ${body?.error ?? ""}`.trimEnd();
  const isOurs = reply.status >= 400 && reply.status < 500 && reply.status !== 408 && reply.status !== 429;
  if (isOurs) throw new CredentialRefused(words);
  throw new Broken(words, retryAfterMs(reply.headers.get("retry-after")));
}
