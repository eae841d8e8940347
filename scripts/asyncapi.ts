/** Reads every AsyncAPI document with the reference parser; any finding of it, a mere hint too, fails. */
import { globSync, readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

/** The contract says AsyncAPI 3.0 (notifications, part F), which 3.1 does not end. */
const unasked = "asyncapi-latest-version";
const names = globSync("asyncapi/*/*.json").sort();
if (names.length === 0) throw new Error("There is no AsyncAPI document.");
for (const name of names) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(name, "utf8"), { source: name });
  const findings = diagnostics.filter(({ code }) => code !== unasked);
  for (const { code, message, path } of findings) console.error(`${name} ${path.join("/")}: ${message} (${code})`);
  if (!document || findings.length > 0) process.exitCode = 1;
}
