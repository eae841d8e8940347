/** `demarc listen` as one file that runs with Node alone: what the server hands out at /docs/receiver. */
import { readFileSync } from "node:fs";
import { transform } from "@swc/core";
import { type Plugin, rollup } from "rollup";

const root = new URL("../", import.meta.url).pathname;

const parts: Plugin = {
  name: "parts",
  resolveId(source) {
    if (source.startsWith("node:")) return { id: source, external: true };
    return source.startsWith(".") ? null : new URL(import.meta.resolve(source)).pathname;
  },
  async transform(code, id) {
    if (!id.endsWith(".ts")) return null;
    return transform(code, { swcrc: false, jsc: { parser: { syntax: "typescript" }, target: "es2022" } });
  },
};

/** Its packages ask for a notice in every copy. */
function notice(): string {
  const licence = (name: string) => readFileSync(`${root}node_modules/${name}/LICENSE`, "utf8");
  const [author] = /^ *Copyright \d.*$/m.exec(licence("@stomp/stompjs"))!;
  return `#!/usr/bin/env node
/*
 * demarc listen: prints every event of a Demarc server as it happens. Needs Node 22 or newer, and nothing else.
 * Made by \`npm run generate\` from cli/ of Demarc, under the Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
 *
 * Contains @stomp/stompjs, under the same licence. ${author.trim()}
 *
 * Contains commander. ${licence("commander").trim().replaceAll(/^/gm, " * ").replaceAll(/ +$/gm, "").slice(3)}
 */`;
}

/** The whole file; the same octets wherever it is made. */
export async function receiverBundle(): Promise<string> {
  const bundle = await rollup({ input: `${root}cli/demarc-listen.ts`, plugins: [parts] });
  const { output } = await bundle.generate({ format: "es", banner: notice() });
  await bundle.close();
  if (output.length > 1)
    throw new Error("The receiver is no longer one file: something in it is imported dynamically.");
  return output[0].code;
}
