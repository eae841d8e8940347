/**
 * The cookie of the log-in pages and what forms of these pages carry against forgery (access, section 5.2). A stranger
 * gets a value too, which is stored nowhere, so that the log-in form itself cannot be sent from somewhere else.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Settings } from "#kernel/kernel";

/** `__Host-` needs Secure, which not every browser takes over plain http; that is served on loopback alone. */
function cookieOf({ publicUrl }: Pick<Settings, "publicUrl">): { name: string; attributes: string } {
  return publicUrl.startsWith("https:")
    ? { name: "__Host-demarc_session", attributes: "; Path=/; HttpOnly; Secure; SameSite=Lax" }
    : { name: "demarc_session", attributes: "; Path=/; HttpOnly; SameSite=Lax" };
}

/** 256 random bits. */
export function newCookieValue(): string {
  return randomBytes(32).toString("base64url");
}

/** The value that the browser sent, where it has the form of one of ours; two of them are nobody's. */
export function readCookie(settings: Pick<Settings, "publicUrl">, request: FastifyRequest): string | null {
  const { name } = cookieOf(settings);
  const values = (request.headers.cookie ?? "").split(";").flatMap((part) => {
    const mark = part.indexOf("=");
    return part.slice(0, mark).trim() === name ? [part.slice(mark + 1).trim()] : [];
  });
  return values.length === 1 && /^[A-Za-z0-9_-]{43}$/.test(values[0]!) ? values[0]! : null;
}

/** It ends with the browser at the latest; how long it counts is the server's to say. */
export function setCookie(settings: Pick<Settings, "publicUrl">, reply: FastifyReply, value: string): void {
  const { name, attributes } = cookieOf(settings);
  reply.header("set-cookie", `${name}=${value}${attributes}`);
}

export function clearCookie(settings: Pick<Settings, "publicUrl">, reply: FastifyReply): void {
  const { name, attributes } = cookieOf(settings);
  reply.header("set-cookie", `${name}=; Max-Age=0${attributes}`);
}

/** What a form of ours carries: it proves that its sender has seen a page made for this cookie. */
export function formToken(cookie: string): string {
  return hash("sha256", `demarc-form-v1\0${cookie}`, "base64url");
}

export function isFormToken(cookie: string | null, token: string | undefined): boolean {
  if (cookie === null || token === undefined) return false;
  const [right, given] = [Buffer.from(formToken(cookie)), Buffer.from(token)];
  return right.length === given.length && timingSafeEqual(right, given);
}
