/** A browser without a window for tests: keeps cookies, follows redirects of this server, fills in forms. */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import type { TestUser } from "./tokens.ts";

export type Page = {
  status: number;
  headers: Headers;
  text: string;
  title: string;
  /** Of the page; after a redirect to somewhere else, that address. */
  url: URL;
  /** The redirect went to somewhere else, which is not asked. */
  left: boolean;
};
export type Visitor = ReturnType<typeof createVisitor>;

const undo = (text: string) => text.replaceAll(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)));
const attribute = (tag: string, name: string) => {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
  return value === undefined ? undefined : undo(value);
};

/** `base`: the server as the browser addresses it. */
export function createVisitor(base: string, headers: Record<string, string> = {}) {
  const jar = new Map<string, string>();

  async function ask(method: string, address: string | URL, form?: URLSearchParams): Promise<Page> {
    let url = new URL(address, base);
    for (let hops = 0; hops < 10; hops++) {
      const response = await fetch(url, {
        method,
        redirect: "manual",
        body: form,
        headers: { ...headers, cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; ") },
      });
      for (const line of response.headers.getSetCookie()) {
        const [pair = "", ...attributes] = line.split(/;\s*/);
        const mark = pair.indexOf("=");
        if (attributes.includes("Max-Age=0")) jar.delete(pair.slice(0, mark));
        else jar.set(pair.slice(0, mark), pair.slice(mark + 1));
      }
      const text = await response.text();
      const location = response.headers.get("location");
      const title = undo(/<h1>(.*?)<\/h1>/.exec(text)?.[1] ?? "");
      const page = { status: response.status, headers: response.headers, text, title, url, left: false };
      if (location === null) return page;
      url = new URL(location, url);
      if (url.origin !== new URL(base).origin || !url.pathname.startsWith("/oauth/"))
        return { ...page, url, left: true };
      [method, form] = ["GET", undefined];
    }
    throw new Error(`${address} redirects without end.`);
  }

  return {
    jar,
    get: (address: string | URL) => ask("GET", address),
    post: (address: string | URL, fields: Record<string, string>) => ask("POST", address, new URLSearchParams(fields)),
    /** Sends the page's form with what is typed into it; `button`: the one that is pressed, by its value. */
    async submit(page: Page, typed: Record<string, string>, button?: string): Promise<Page> {
      const [, open = "", inside = ""] = /(<form[^>]*>)([\s\S]*?)<\/form>/.exec(page.text) ?? [];
      assert.ok(open, `There is no form on: ${page.text}`);
      const fields = new URLSearchParams();
      for (const [tag] of inside.matchAll(/<input[^>]*>/g))
        fields.set(attribute(tag, "name")!, attribute(tag, "value") ?? "");
      for (const [name, value] of Object.entries(typed)) {
        assert.ok(fields.has(name), `There is no field ${name} on: ${page.text}`);
        fields.set(name, value);
      }
      if (button !== undefined) {
        const tag = [...inside.matchAll(/<button[^>]*>/g)]
          .map(([one]) => one)
          .find((one) => attribute(one, "value") === button);
        assert.ok(tag, `There is no button ${button} on: ${page.text}`);
        fields.set(attribute(tag, "name")!, button);
      }
      return ask("POST", new URL(attribute(open, "action")!, page.url), fields);
    },
  };
}

/** Logs a user in at the page that an address leads to; what comes after it. */
export async function logIn(visitor: Visitor, address: string | URL, user: TestUser): Promise<Page> {
  const page = await visitor.get(address);
  assert.equal(page.title, "Log in", page.text);
  return visitor.submit(page, { username: user.email, password: user.password });
}

export const verifier = "a-verifier-that-is-long-enough-for-everybody-0123456789";
const challenge = hash("sha256", verifier, "base64url");

/** An authorize request by PKCE, whose verifier is `verifier`. */
export function authorizeAddress(more: Record<string, string>): string {
  return `/oauth/authorize?${new URLSearchParams({
    response_type: "code",
    code_challenge: challenge,
    code_challenge_method: "S256",
    state: "xyz",
    ...more,
  })}`;
}
