// Brings node_modules to the state of package-lock.json. Plain JavaScript without dependencies: it is the one
// file that must run on whatever Node the machine has, before anything is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = process.argv.includes("--dev") ? "dev" : "production";
const stamp = join(root, "node_modules", ".demarc-setup");
const lock = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");
const installed = existsSync(stamp) ? readFileSync(stamp, "utf8").split(" ") : [];

if (installed[0] !== lock || (wanted === "dev" && installed[1] !== "dev")) {
  rmSync(stamp, { force: true });
  console.error(`Installing packages (${wanted}) ...`);
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error", ...(wanted === "dev" ? [] : ["--omit=dev"])];
  const { status, error } = spawnSync("npm", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (error || status !== 0) {
    console.error(
      `npm ci failed${error ? `: ${error.message}` : ""}. Check that this machine reaches the npm registry, then try again.`,
    );
    process.exit(1);
  }
  writeFileSync(stamp, `${lock} ${wanted}`);
}

const own = join(root, "node_modules", ".bin", "node");
const [major, minor] = process.versions.node.split(".").map(Number);
if (!existsSync(own) && (major < 22 || (major === 22 && minor < 18))) {
  console.error(
    `Demarc needs Node 22.18 or newer. This is ${process.versions.node}, and no packaged Node exists for ${process.platform}-${process.arch}.`,
  );
  process.exit(1);
}
