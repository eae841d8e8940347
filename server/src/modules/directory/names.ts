/** How names and addresses of people are compared (directory, A2): by a key that the server makes, free of any locale. */
import { isIPv4 } from "node:net";
import { domainToASCII } from "node:url";

/** The key of a user name: NFC(lower(upper(NFC(s)))). */
export function fold(text: string): string {
  return text.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
}

/**
 * The key of an e-mail address: lower-cased, its domain as A-label, so that two spellings of one address are one. What is
 * no address has the empty key, which no address has.
 */
export function emailKey(text: string): string {
  const at = text.lastIndexOf("@");
  const domain = at < 0 ? "" : domainToASCII(text.slice(at + 1).toLowerCase());
  // domainToASCII reads numbers as an IPv4 address.
  if (domain === "" || isIPv4(domain) || domain.length > 253) return "";
  if (domain.split(".").some((label) => label.length > 63)) return "";
  return `${text.slice(0, at).toLowerCase()}@${domain}`;
}
