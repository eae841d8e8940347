/** Scopes of clients and tokens (access, section 4): the names are those of keys. */
import { isPermission, permissions, scopesOffered } from "#kernel/permissions";
import { scopeCovers } from "#kernel/principal";
import { OAuthError } from "./error.ts";

const offered: ReadonlySet<string> = new Set(scopesOffered());

/**
 * The scopes asked for, in their order, each once; all that the client is registered for where none was asked for.
 * `invalid_scope`: a name that does not exist, or that the client's registration does not cover.
 */
export function readScope(asked: string | undefined, registered: readonly string[]): readonly string[] {
  const names = [...new Set((asked ?? "").split(" ").filter(Boolean))];
  if (names.length === 0) return registered;
  const unknown = names.find((name) => !offered.has(name));
  if (unknown !== undefined) throw new OAuthError("invalid_scope", `There is no scope ${unknown}.`);
  const beyond = names.find((name) => !scopeWithin(name, registered));
  if (beyond !== undefined) throw new OAuthError("invalid_scope", `The scope ${beyond} is more than may be asked for.`);
  return names;
}

/** Whether a scope opens nothing that the others do not open. */
export function scopeWithin(scope: string, others: readonly string[]): boolean {
  if (others.includes("*") || others.includes(scope)) return true;
  if (isPermission(scope)) return scopeCovers(others, scope);
  const service = scope.endsWith(":read") ? scope.slice(0, -":read".length) : null;
  return service !== null && (others.includes(service) || others.includes("read"));
}

/** What two lists of scopes both open: a token's, and those its client is registered for by now. */
export function commonScopes(token: readonly string[], client: readonly string[]): string[] {
  if (client.includes("*")) return [...token];
  if (token.every((scope) => scopeWithin(scope, client))) return [...token];
  return permissions.filter((name) => scopeCovers(token, name) && scopeCovers(client, name));
}

/** Scopes by their plain names, for the metadata. */
export const offeredScopes: readonly string[] = [...offered];
