/** Rules of a key's or client's fields that its schema cannot say; each gives its faults, so that all are reported at once. */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { plainAddress } from "#kernel/address";
import { scopesOffered } from "#kernel/permissions";
import type { Fault } from "#kernel/problem";
import { nearest } from "#kernel/validate";
import type { Key } from "./schema.ts";

const offered: ReadonlySet<string> = new Set(scopesOffered());
const plainTitle = /^[A-Za-z0-9_-]{1,32}$/;
const visibleTitle = /^(?=.*[^\s])[^\p{C}\p{Zl}\p{Zp}]{1,100}$/u;

export function titleFaults(kind: Key["kind"], title: string | undefined): Fault[] {
  if (title === undefined) return [];
  const plain = kind === "standard" || kind === "personal";
  if ((plain ? plainTitle : visibleTitle).test(title)) return [];
  const message = plain
    ? "Must be 1 to 32 of letters, digits, _ and -."
    : "Must be 1 to 100 visible characters and blanks.";
  return [{ pointer: "/title", rule: "pattern", message }];
}

/** A credential that is brought along: long enough not to be guessed, sendable as a header, and no other kind of ours. */
export function valueFaults(value: string | undefined): Fault[] {
  if (value === undefined || (/^[\x21-\x7e]{32,256}$/.test(value) && !/^dm[ks]_/.test(value))) return [];
  const message = "Must be 32 to 256 visible ASCII characters, and not begin with dmk_ or dms_.";
  return [{ pointer: "/value", rule: "pattern", message }];
}

export function scopeFaults(scopes: readonly string[] | undefined): Fault[] {
  return (scopes ?? []).flatMap((scope, index) => {
    if (offered.has(scope)) return [];
    const hint = nearest(scope, [...offered]);
    const message = `There is no scope ${scope}.`;
    return [{ pointer: `/scopes/${index}`, rule: "enum", message, ...(hint ? { hint } : {}) }];
  });
}

export function expiryFaults(expiresAt: string | null | undefined, now: Date): Fault[] {
  if (expiresAt === undefined || expiresAt === null) return [];
  const at = Date.parse(expiresAt);
  if (Number.isNaN(at)) return [{ pointer: "/expiresAt", rule: "format", message: "There is no such instant." }];
  return at > now.getTime()
    ? []
    : [{ pointer: "/expiresAt", rule: "minimum", message: "Must be in the future; null means never." }];
}

/** Addresses and ranges in their one spelling, each once: a range by its first address, IPv4-mapped IPv6 as IPv4. */
export function readNetworks(given: readonly string[]): { networks: string[]; faults: Fault[] } {
  const faults: Fault[] = [];
  const networks = given.map((text, index) => {
    const network = canonicalNetwork(text);
    if (network === null) {
      const message = "Must be an IPv4 or IPv6 address or a CIDR range.";
      faults.push({ pointer: `/allowedAddresses/${index}`, rule: "format", message });
    }
    return network ?? text;
  });
  return { networks: [...new Set(networks)], faults };
}

/** Null for what is no address and no range. */
export function canonicalNetwork(text: string): string | null {
  const [address = "", bits, more] = text.split("/");
  // Node's reading is strict; ipaddr.js would take "1" or "0x7f.1" for IPv4, which nobody means here.
  if (more !== undefined || isIP(address) === 0 || address.includes("%")) return null;
  if (bits === undefined) return plainAddress(address);
  if (!/^(0|[1-9]\d{0,2})$/.test(bits)) return null;
  const parsed = ipaddr.process(address);
  const mapped = parsed.kind() === "ipv4" && address.includes(":");
  const length = Number(bits) - (mapped ? 96 : 0);
  const whole = parsed.kind() === "ipv4" ? 32 : 128;
  if (length < 0 || length > whole) return null;
  if (length === whole) return parsed.toString();
  const network =
    parsed.kind() === "ipv4"
      ? ipaddr.IPv4.networkAddressFromCIDR(`${parsed}/${length}`)
      : ipaddr.IPv6.networkAddressFromCIDR(`${parsed}/${length}`);
  return `${network}/${length}`;
}
