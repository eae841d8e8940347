import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** Networks in CIDR form (`10.20.0.0/16`, `fd00:1::/48`) that the operator opens to outbound calls. */
export type AllowList = readonly string[];

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** IANA IPv4 Special-Purpose Address Registry, multicast (RFC 5771), and one address that is special in fact. */
const specialIpv4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  // Azure's platform address: public by the registry, yet it hands a virtual machine its certificates and settings.
  "168.63.129.16/32",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
].map((network) => ipaddr.parseCIDR(network));

/** All the unicast space that IANA gives out (RFC 4291, section 2.4). What lies outside it is special as a whole. */
const globalIpv6 = ipaddr.parseCIDR("2000::/3");

/** IANA IPv6 Special-Purpose Address Registry, as far as it lies in 2000::/3. */
const specialIpv6 = [
  // Protocol assignments: Teredo, benchmarking, AMT, AS112, ORCHID and drone tags are parts of it.
  "2001::/23",
  "2001:db8::/32",
  // 6to4 (RFC 7526: no longer to be used) ends at whatever IPv4 address it embeds.
  "2002::/16",
  "2620:4f:8000::/48",
  "3fff::/20",
].map((network) => ipaddr.parseCIDR(network));

/** The one prefix that leads out of 2000::/3 to public hosts: an IPv4 address in the last 32 bits (NAT64, RFC 6052). */
const nat64 = ipaddr.parseCIDR("64:ff9b::/96");

/**
 * Whether the text is an IPv4 or IPv6 address that belongs to a host of the public Internet. False for every range of
 * the IANA special-purpose registries, multicast and unallocated IPv6 space, for IPv4 written inside IPv6 (but NAT64 of
 * a public address), for zone ids, and for text that is not an address in its ordinary spelling (no octal, hexadecimal
 * or short IPv4).
 */
export function isPublicAddress(address: string): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  if (parsed.kind() === "ipv4") return !isWithin(parsed, specialIpv4);
  if (isWithin(parsed, [nat64])) return isPublicAddress(parsed.toByteArray().slice(12).join("."));
  return isWithin(parsed, [globalIpv6]) && !isWithin(parsed, specialIpv6);
}

/**
 * Reads the operator's list into a test for an address.
 * @throws RangeError naming the first entry that is not a network in CIDR form, or has bits set after its prefix (a
 * typing error that would open far more than was meant).
 */
export function readAllowList(list: AllowList): (address: string) => boolean {
  const networks = list.map(parseNetwork);
  return (address) => {
    const parsed = parseAddress(address);
    return parsed !== undefined && isWithin(parsed, networks);
  };
}

function parseNetwork(text: string): Network {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const parsed = parseAddress(address);
  const bits = parsed?.kind() === "ipv4" ? 32 : 128;
  if (parsed === undefined || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > bits) {
    throw new RangeError(`"${text}" is not a network in CIDR form, such as 10.20.0.0/16 or fd00:1::/48`);
  }
  const family = parsed.kind() === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6;
  const network = family.networkAddressFromCIDR(`${parsed}/${prefix}`);
  if (!parsed.match(network, bits)) {
    throw new RangeError(`"${text}" has bits set after its prefix; the network is ${network}/${prefix}`);
  }
  return [parsed, Number(prefix)];
}

/** Undefined for a zone id and for spellings that ipaddr.js alone would take, such as `0177.1`. */
function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  return isIP(text) === 0 || text.includes("%") ? undefined : ipaddr.parse(text);
}

function isWithin(address: ipaddr.IPv4 | ipaddr.IPv6, networks: readonly Network[]): boolean {
  return networks.some((network) => network[0].kind() === address.kind() && address.match(network));
}
