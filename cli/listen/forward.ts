/** Hands each event to an address of the user's own, as a webhook would come there. */
import { createHmac } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { readSecret, verifyWebhook } from "../../sdk/verify-webhook.ts";
import { Stop, wordsOf } from "./faults.ts";

const replyMs = 15_000;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

type Target = { url: string; secret: string; giveUpMs: number };
type News = { id: string; text: string };

/**
 * Sends until a reply is 2xx: the same event again, after 1 s, doubling to 60 s. False: it was stopped in between.
 * @throws Stop (forward) when it has not succeeded for as long as the user wants to wait
 */
export async function forward(
  { url, secret, giveUpMs }: Target,
  news: News,
  stop: AbortSignal,
  say: (words: string) => void,
): Promise<boolean> {
  const until = performance.now() + giveUpMs;
  for (let [attempt, pauseMs] = [1, firstPauseMs]; ; attempt++, pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const outcome = await send(url, secret, news, attempt);
    if (outcome === null) return true;
    if (performance.now() + pauseMs > until)
      throw new Stop("forward", `${url} did not take ${news.id} (${outcome}), as often as it was sent.`);
    say(`${url} did not take ${news.id} (${outcome}). Again in ${pauseMs / 1_000} s.`);
    // What has been sent is waited for, the next attempt is not.
    await pause(pauseMs, undefined, { signal: stop }).catch(() => {});
    if (stop.aborted) return false;
  }
}

/** One attempt; null: taken. */
async function send(url: string, secret: string, { id, text }: News, attempt: number): Promise<string | null> {
  const headers = {
    "content-type": "application/cloudevents+json; charset=utf-8",
    "user-agent": "Demarc-Listen",
    ...signed(secret, id, text),
    "demarc-attempt": String(attempt),
  };
  try {
    const signal = AbortSignal.timeout(replyMs);
    const reply = await fetch(url, { method: "POST", headers, body: text, redirect: "manual", signal });
    await reply.body?.cancel();
    return reply.ok ? null : `status ${reply.status}`;
  } catch (error) {
    return wordsOf(error);
  }
}

/** The headers of Standard Webhooks, at this second. */
function signed(secret: string, id: string, text: string): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1_000);
  const signature = createHmac("sha256", readSecret(secret)).update(`${id}.${timestamp}.${text}`).digest("base64");
  const headers = { "webhook-id": id, "webhook-timestamp": String(timestamp), "webhook-signature": `v1,${signature}` };
  // What would be refused there by whoever uses the same verifier shall not leave here.
  verifyWebhook(headers, text, secret);
  return headers;
}
