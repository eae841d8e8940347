import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import { type AllowList, isPublicAddress, readAllowList } from "./outbound-address.ts";

/** All addresses of a name, IPv4 first; none or an error where there are none. */
export type Lookup = (name: string) => Promise<readonly string[]>;

/** `detail` may be shown to the caller: it names the host at most, never an address behind it, a path or a query. */
export type Refusal<Reason> = { ok: false; reason: Reason; detail: string };

/**
 * `address` is the one to connect to, and the only one. `listed`: it is on the operator's list. `othersRefused`: the
 * name has further addresses that are refused.
 */
export type Pinned = { ok: true; address: string; family: 4 | 6; listed: boolean; othersRefused: boolean };
export type Resolution = Pinned | Refusal<"name_not_resolved" | "address_not_allowed">;
export type UrlCheck = { ok: true; url: URL } | Refusal<"url_not_allowed" | "address_not_allowed">;
export type UrlResolution =
  | (Pinned & { url: URL })
  | Refusal<"url_not_allowed" | "address_not_allowed" | "name_not_resolved">;

/** Decides which hosts this server may contact for a tenant. The one place where that is decided. */
export type AddressGuard = {
  /**
   * Looks a host up once, drops the addresses that are refused, and pins the first one left; for probes of devices.
   * Takes a name, an address in any spelling, or the `hostname` of a URL.
   * @throws the reason of the signal, when that is aborted first.
   */
  resolve(host: string, signal?: AbortSignal): Promise<Resolution>;
  /**
   * What can be said of a URL without a look-up: https, or http to networks on the list; up to 2,048 characters; no user
   * info, fragment, backslash, blank or control character; no special address in any spelling; no local name unless
   * there is a list. For the moment a URL is stored.
   */
  checkUrl(text: string): UrlCheck;
  /**
   * `checkUrl` and `resolve` for a call: here one refused address refuses the name (exchange, 6.3), and http needs the
   * pinned address on the list. `createOutbound` decides by this at every call.
   * @throws the reason of the signal, when that is aborted first.
   */
  resolveUrl(text: string, signal?: AbortSignal): Promise<UrlResolution>;
};

/**
 * @param options.allow networks opened by the operator; a bad entry throws a RangeError (see `readAllowList`)
 */
export function createAddressGuard(options: { allow: AllowList; lookup?: Lookup }): AddressGuard {
  const isListed = readAllowList(options.allow);
  const findAll = options.lookup ?? createLookup();
  const hasList = options.allow.length > 0;

  const isAllowed = (address: string, name: string) =>
    isListed(address) || (isPublicAddress(address) && !isLocalName(name));

  async function resolve(host: string, signal?: AbortSignal): Promise<Resolution> {
    signal?.throwIfAborted();
    const name = readHost(host);
    if (name === undefined) return notResolved("The host is neither a name nor an address.");
    if (isIP(name) === 0 && isLocalName(name) && !hasList) return notAllowed(name);
    const found = isIP(name) === 0 ? await untilAborted(findAddresses(findAll, name), signal) : [name];
    if (found.length === 0) return notResolved(`The name ${name} has no address.`);
    const allowed = found.filter((address) => isAllowed(address, name));
    const address = allowed[0];
    if (address === undefined) return notAllowed(name);
    const family = isIP(address) === 4 ? 4 : 6;
    return { ok: true, address, family, listed: isListed(address), othersRefused: allowed.length < found.length };
  }

  function checkUrl(text: string): UrlCheck {
    const url = readUrl(text);
    if (typeof url === "string") return { ok: false, reason: "url_not_allowed", detail: url };
    const name = readHost(url.hostname);
    if (name === undefined)
      return { ok: false, reason: "url_not_allowed", detail: "The host of the URL is malformed." };
    const isAddress = isIP(name) !== 0;
    if (isAddress ? !isAllowed(name, name) : isLocalName(name) && !hasList) return notAllowed(name);
    if (url.protocol === "http:" && (isAddress ? !isListed(name) : !hasList)) return httpNotAllowed;
    return { ok: true, url };
  }

  async function resolveUrl(text: string, signal?: AbortSignal): Promise<UrlResolution> {
    const check = checkUrl(text);
    if (!check.ok) return check;
    const { url } = check;
    const found = await resolve(url.hostname, signal);
    if (!found.ok) return found;
    if (found.othersRefused) return notAllowed(url.hostname);
    if (url.protocol === "http:" && !found.listed) return httpNotAllowed;
    return { ...found, url };
  }

  return { resolve, checkUrl, resolveUrl };
}

/**
 * The look-up of a running server. DNS is asked directly, since `getaddrinfo` holds a thread of the pool for as long as
 * a name server chooses to take. Names that DNS does not know, and local ones, are asked of the system, which knows the
 * hosts file and the search domains.
 */
export function createLookup(dns: Resolver = new Resolver({ timeout: 2_000, tries: 2 }), system = askSystem): Lookup {
  return async (name) => {
    if (isLocalName(name)) return system(name);
    const answers = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    const unknown = answers.every((answer) => answer.status === "rejected" && unknownToDns.has(answer.reason.code));
    return found.length === 0 && unknown ? system(name) : found;
  };
}

async function askSystem(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, order: "ipv4first" });
  return found.map(({ address }) => address);
}

/** Codes of "no such name", and of a host without any name server. A slow or failing server is not asked twice. */
const unknownToDns = new Set(["ENOTFOUND", "ENODATA", "ECONNREFUSED"]);

/** Names that public DNS does not have (RFC 6761, RFC 6762, ICANN's `.internal`; a name of one label). */
function isLocalName(name: string): boolean {
  return !/[.:]/.test(name) || /\.(localhost|local|internal)$/.test(name);
}

/**
 * The name in lower case and Punycode without its final dot, or the address in its ordinary spelling; undefined when it
 * is neither. Every host passes the URL parser, so that `0x7f.1`, `①②⑦.1` and the like are read as they would be in a URL.
 */
function readHost(host: string): string | undefined {
  if (isIP(host) === 6) return host;
  if (/[\s/?#@\\%]/.test(host) || (host.includes(":") && !/^\[[^[\]]+\]$/.test(host))) return undefined;
  const parsed = URL.parse(`http://${host}/`)?.hostname;
  if (parsed === undefined) return undefined;
  if (parsed.startsWith("[")) return parsed.slice(1, -1);
  const name = parsed.replace(/\.$/, "");
  const isName = name.length <= 253 && name.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
  return isName ? name : undefined;
}

/** The URL, or what is wrong with its text. The text is looked at because the parser silently repairs what it can. */
function readUrl(text: string): URL | string {
  if (text.length > 2_048) return "The URL is longer than 2,048 characters.";
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined) return "The URL does not start with https:// and a host.";
  if (/[\s\x00-\x1f\x7f\\]/.test(text)) return "The URL contains a blank, a control character or a backslash.";
  if (authority.includes("@")) return "The URL contains user information.";
  if (text.includes("#")) return "The URL contains a fragment.";
  return URL.parse(text) ?? "The URL is malformed.";
}

async function findAddresses(findAll: Lookup, name: string): Promise<readonly string[]> {
  try {
    return await findAll(name);
  } catch {
    return [];
  }
}

/** Look-ups cannot be called off, so an aborted one is left to end by itself. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function notResolved(detail: string): Refusal<"name_not_resolved"> {
  return { ok: false, reason: "name_not_resolved", detail };
}

function notAllowed(host: string): Refusal<"address_not_allowed"> {
  return {
    ok: false,
    reason: "address_not_allowed",
    detail: `${host} is not public, or leads to an address that is not, and the operator has not opened its network.`,
  };
}

const httpNotAllowed: Refusal<"url_not_allowed"> = {
  ok: false,
  reason: "url_not_allowed",
  detail: "http is for networks that the operator has opened; use https.",
};
