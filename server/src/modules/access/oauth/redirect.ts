/** Where an answer of the authorize address may be sent (RFC 6749, section 3.1.2; RFC 8252, section 7.3). */
import type { Settings } from "#kernel/kernel";
import { redirectFault } from "../client/redirect-uri.ts";
import type { OAuthClient } from "./client.ts";

/** A loopback address and its port, with nothing before the path: what a program on the person's machine listens at. */
const loopback = /^(http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]))(?::\d{1,5})?(?=[/?]|$)/;
export const isLoopback = (uri: string) => loopback.test(uri);
const withoutPort = (uri: string) => uri.replace(loopback, "$1");

/** Compared letter by letter with what is registered; only a loopback address may have any port. */
export function mayRedirect(client: OAuthClient, { publicUrl }: Pick<Settings, "publicUrl">, uri: string): boolean {
  if (uri.length > 2_000 || redirectFault(uri) !== null) return false;
  if (client.tenantId === null) return isOwnAddress(client.id, publicUrl, uri);
  return client.redirectUris.some(
    (registered) => uri === registered || (isLoopback(uri) && withoutPort(uri) === withoutPort(registered)),
  );
}

const cliAddresses = ["http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback"];

function isOwnAddress(clientId: string, publicUrl: string, uri: string): boolean {
  if (clientId === "demarc-cli") return cliAddresses.includes(withoutPort(uri));
  // As a browser would read it: nothing that climbs out of the console by its spelling.
  if (new URL(uri).href !== uri) return false;
  if (clientId === "demarc-console") {
    const [path = ""] = uri.split("?", 1);
    return path === `${publicUrl}/console` || path.startsWith(`${publicUrl}/console/`);
  }
  return clientId === "demarc-docs" && isDocsAddress(publicUrl, uri);
}

/** People read the documentation of a server on their machine by any of its names. */
function isDocsAddress(publicUrl: string, uri: string): boolean {
  const page = `${publicUrl}/docs/asset/oauth2-redirect.html`;
  if (uri === page) return true;
  const [asked, own] = [new URL(uri), new URL(page)];
  return (
    isLoopback(uri) &&
    isLoopback(publicUrl) &&
    asked.port === own.port &&
    uri.endsWith(own.pathname) &&
    asked.pathname === own.pathname
  );
}
