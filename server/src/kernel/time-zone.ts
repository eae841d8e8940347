/** Names of the IANA time zone database, as `Intl` knows them. */

/** Names without a region (`backward`, `etcetera` and the POSIX-like zones of the database). */
const single = new Set(
  "UTC GMT GMT0 GMT+0 GMT-0 Greenwich UCT Universal Zulu EST MST HST EST5EDT CST6CDT MST7MDT PST8PDT CET MET EET WET Cuba Egypt Eire GB GB-Eire Hongkong Iceland Iran Israel Jamaica Japan Kwajalein Libya NZ NZ-CHAT Navajo PRC Poland Portugal ROC ROK Singapore Turkey W-SU".split(
    " ",
  ),
);
const regions = new Set(
  "Africa America Antarctica Arctic Asia Atlantic Australia Brazil Canada Chile Etc Europe Indian Mexico Pacific US".split(
    " ",
  ),
);
const canonical = new Map(Intl.supportedValuesOf("timeZone").map((name) => [name.toLowerCase(), name]));

/**
 * Whether `name` is the name of an IANA zone or of an alias of one (`Asia/Kolkata`, `US/Pacific`). UTC offsets and the
 * abbreviations that only ICU knows (`PST`, `IST`) are not: neither has rules that everybody shares.
 */
export function isTimeZone(name: string): boolean {
  const known = canonical.get(name.toLowerCase());
  if (known) return known === name;
  if (!single.has(name) && !regions.has(name.split("/", 1)[0]!)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
