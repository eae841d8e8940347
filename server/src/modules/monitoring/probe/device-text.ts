const maxLength = 255;
const utf8 = new TextDecoder("utf-8", { fatal: true });
// Bidirectional controls are no control characters to Unicode, but they reorder what a person reads.
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/u;

/**
 * The octet string of a device as text that is safe to store and show: UTF-8, else ISO 8859-1; control characters at
 * the ends dropped, others one space for each run; at most 255 code points. Null when nothing is left.
 */
export function readDeviceText(octets: Buffer): string | null {
  let text: string;
  try {
    text = utf8.decode(octets);
  } catch {
    text = octets.toString("latin1");
  }
  const clean = text
    .split(unprintable)
    .filter((part) => part !== "")
    .join(" ");
  return [...clean].slice(0, maxLength).join("") || null;
}
