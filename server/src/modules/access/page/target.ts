/** Where a log-in leads. Only addresses of this server's own pages do, so that none is an open door to another site. */
import { readAuthorizeRequest, withoutFreshLogIn } from "../oauth/authorize-request.ts";
import type { AuthorizationServer } from "../oauth/server.ts";

export type Target = {
  /** Below the public address; null: the log-in is for its own sake. */
  path: string | null;
  /** The application that asked for it. */
  client: { id: string; name: string } | null;
  loginHint: string | null;
  /** Origins that the answer may end at. */
  origins: string[];
};

const nowhere: Target = { path: null, client: null, loginHint: null, origins: [] };
const authorize = "/oauth/authorize?";
/** What is to be read: the index, pages, documents. */
const page =
  /^\/(?:docs(?:\/[A-Za-z0-9_-]+){0,2}(?:\?version=[a-z0-9]{1,10})?|(?:v[1-9][0-9]{0,5}|latest|beta)\/(?:openapi|asyncapi)\/[a-z]{1,30}\.json)?$/;
const device = /^\/oauth\/device(?:\?user_code=[A-Za-z0-9-]{0,32})?$/;

/** Reads the address that the log-in page was given; anything but one of ours is as none. */
export async function readTarget(server: AuthorizationServer, given: string | undefined): Promise<Target> {
  if (given === undefined || !/^[\x21-\x7e]{1,8000}$/.test(given)) return nowhere;
  if (device.test(given) || page.test(given)) return { ...nowhere, path: given };
  if (!given.startsWith(authorize)) return nowhere;
  const reading = await readAuthorizeRequest(server, given.slice(authorize.length));
  if (reading.kind !== "request") return { ...nowhere, path: given };
  const { client, redirectUri, loginHint } = reading.request;
  return {
    path: given,
    client: { id: client.id, name: client.name },
    loginHint,
    origins: [new URL(redirectUri).origin],
  };
}

/** The whole address, once the person has logged in for it. */
export function addressOf({ kernel }: Pick<AuthorizationServer, "kernel">, path: string): string {
  const { publicUrl } = kernel.settings;
  if (!path.startsWith(authorize)) return publicUrl + path;
  return `${publicUrl}${authorize}${withoutFreshLogIn(path.slice(authorize.length))}`;
}

/** The log-in page that leads to an address. `again`: also for who is logged in. */
export function logInAddress(
  { kernel }: Pick<AuthorizationServer, "kernel">,
  path: string | null,
  again = false,
): string {
  const query = new URLSearchParams({ ...(again ? { again: "1" } : {}), ...(path === null ? {} : { to: path }) });
  return `${kernel.settings.publicUrl}/oauth/login${query.size > 0 ? `?${query}` : ""}`;
}
