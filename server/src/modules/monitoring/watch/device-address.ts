import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import ipaddr from "ipaddr.js";

export type DeviceAddress = { ok: true; address: string } | { ok: false; message: string };

const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const numeric = /^(?:\d+|0x[0-9a-f]*)$/;

/**
 * Reads a device's address (monitoring, 2.6) into its one canonical spelling: IPv4 in four decimal parts, IPv6 by RFC
 * 5952 (IPv4-mapped becomes IPv4), a DNS name in lower case as A-labels without its trailing dot. What is stored,
 * filtered, matched and compared all goes through here, so that two spellings of one host meet. Reading a canonical
 * spelling gives it back.
 */
export function readDeviceAddress(text: string): DeviceAddress {
  if (/[\s/?#@\\%[\]]/.test(text))
    return refused("No port, scheme, prefix length, brackets, zone id or spaces may stand in the address.");
  if (text.includes(":"))
    return isIP(text) === 6
      ? readIpv6(text)
      : refused("Neither a host name nor an IPv6 address; a port has no place here.");
  if (isIP(text) === 4) return hostOnly(text);
  return readName(text);
}

function readIpv6(text: string): DeviceAddress {
  const parsed = ipaddr.IPv6.parse(text);
  if (parsed.isIPv4MappedAddress()) return hostOnly(parsed.toIPv4Address().toString());
  const range = parsed.range();
  if (range === "unspecified" || range === "multicast") return never;
  // The URL standard's serializer compresses the first of two longest runs, as RFC 5952 asks; ipaddr.js takes the last.
  return { ok: true, address: new URL(`http://[${text}]`).hostname.slice(1, -1) };
}

/** An IPv4 address in its only spelling, unless it never belongs to one host. */
function hostOnly(address: string): DeviceAddress {
  const first = Number(address.split(".", 1)[0]);
  return address === "0.0.0.0" || first >= 224 ? never : { ok: true, address };
}

function readName(text: string): DeviceAddress {
  const lower = text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const isIdn = /[^ -~]|(?:^|\.)xn--/.test(lower);
  const ascii = isIdn ? domainToASCII(lower) : lower;
  // IDN mapping reads full-width digits and the like as an IPv4 address, which has one spelling only.
  const name = isIP(ascii) === 0 ? ascii.replace(/\.$/, "") : "";
  const labels = name.split(".");
  if (numeric.test(labels.at(-1)!))
    return refused("A last label of digits needs an IPv4 address: four decimal parts without leading zeros.");
  if (name.length > 253 || !labels.every((part) => label.test(part)))
    return refused("Must be an IPv4 or IPv6 address or a host name.");
  return { ok: true, address: name };
}

function refused(message: string): DeviceAddress {
  return { ok: false, message };
}

const never = refused("The unspecified address, multicast, broadcast and 240.0.0.0/4 are never one host.");
