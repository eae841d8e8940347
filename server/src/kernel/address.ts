import type { IncomingMessage } from "node:http";
import ipaddr from "ipaddr.js";

/** An address in its one spelling: IPv4-mapped IPv6 is read as IPv4. Not an address: returned as it is. */
export function plainAddress(address: string): string {
  return address.startsWith("::ffff:") || address.includes(":")
    ? ipaddr.isValid(address)
      ? ipaddr.process(address).toString()
      : address
    : address;
}

/** Whether an address lies in one of the networks (addresses or CIDR ranges). */
export function inNetworks(address: string, networks: readonly string[]): boolean {
  if (networks.length === 0 || !ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  return networks.some((network) => {
    const [base, bits] = network.includes("/") ? ipaddr.parseCIDR(network) : [ipaddr.process(network), null];
    if (base.kind() !== parsed.kind()) return false;
    return bits === null ? base.toString() === parsed.toString() : parsed.match(base as never, bits);
  });
}

/** The TCP peer, or the right-most `X-Forwarded-For` entry that is no trusted proxy (access, preface). */
export function clientAddress(request: IncomingMessage, trustedProxies: readonly string[]): string {
  let address = plainAddress(request.socket.remoteAddress ?? "");
  if (trustedProxies.length === 0 || !inNetworks(address, trustedProxies)) return address;
  const forwarded = String(request.headers["x-forwarded-for"] ?? "")
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  for (const entry of forwarded.reverse()) {
    if (!ipaddr.isValid(entry)) return address;
    address = plainAddress(entry);
    if (!inNetworks(address, trustedProxies)) return address;
  }
  return address;
}

/** What stands for an address when failures are counted: IPv4 itself, of IPv6 the /64. */
export function countingKey(address: string): string {
  if (!address.includes(":") || !ipaddr.isValid(address)) return address;
  return `${ipaddr.parse(address).toNormalizedString().split(":").slice(0, 4).join(":")}::/64`;
}
