import { spawn } from "node:child_process";

const root = new URL("..", import.meta.url).pathname;
const bin = (name: string) => `node_modules/.bin/${name}`;

/** Every check that is not a test: name and command. All run side by side; each has a test that it still bites. */
export const checks: { name: string; command: string[] }[] = [
  { name: "types", command: [bin("tsc"), "-p", "."] },
  {
    name: "format and lint",
    command: [bin("biome"), "ci", "--colors=off", "--error-on-warnings", "--max-diagnostics=20", "."],
  },
  { name: "boundaries", command: [bin("depcruise"), "--config", "scripts/boundaries.cjs", "server/src", "cli", "sdk"] },
  { name: "dead code", command: [bin("knip")] },
  { name: "generated files", command: [process.execPath, "scripts/generate.ts", "--check"] },
  { name: "OpenAPI by redocly", command: ["sh", "-c", "node_modules/.bin/redocly lint openapi/*/*.json"] },
  {
    name: "OpenAPI by spectral",
    command: ["sh", "-c", "node_modules/.bin/spectral lint --fail-severity=warn openapi/*/*.json"],
  },
  { name: "AsyncAPI", command: [process.execPath, "scripts/asyncapi.ts"] },
];

async function runOne({ name, command }: (typeof checks)[number]): Promise<string | null> {
  const child = spawn(command[0]!, command.slice(1), { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise((resolve) => child.once("close", resolve));
  console.log(`${code === 0 ? "✔" : "✖"} ${name}`);
  if (code === 0) return null;
  console.error(output);
  return name;
}

/** Runs all checks; returns the names of those that failed. */
export async function runChecks(): Promise<string[]> {
  const outcomes = await Promise.all(checks.map(runOne));
  return outcomes.filter((name) => name !== null);
}
