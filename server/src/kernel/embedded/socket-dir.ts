import { lchown, lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedPostgresError } from "./failure.ts";
import type { ServerUser } from "./server-user.ts";

// sun_path less its closing zero byte (unix(7)).
const longestPathBytes = process.platform === "linux" ? 107 : 103;

/**
 * Where the server's socket lies: for clients an absolute path, for the server the value of its setting. In the
 * cluster's own directory, which is closed to everybody else and which the server reaches whatever lies above it;
 * when that path is too long for a socket, in a directory of this name below the system's temporary one.
 */
export async function makeSocketDir(
  cluster: string,
  name: string,
  user: ServerUser,
): Promise<{ path: string; setting: string }> {
  if (fits(cluster)) return { path: cluster, setting: "." };
  const path = [tmpdir(), "/tmp"].map((base) => join(base, name)).find(fits)!;
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  if (user.dropsRights && (await lstat(path)).uid === 0) await lchown(path, user.uid, user.gid);
  // Everybody may write in /tmp: a directory that somebody else put there would let them in, or answer in our place.
  const found = await lstat(path);
  if (!found.isDirectory() || found.uid !== user.uid || (found.mode & 0o077) !== 0) {
    throw new EmbeddedPostgresError(
      "not_startable",
      `${path}, the directory for the database's socket, belongs to somebody else. Remove it, then start again.`,
    );
  }
  return { path, setting: `"${path.replaceAll('"', '""')}"` };
}

function fits(directory: string): boolean {
  return Buffer.byteLength(join(directory, ".s.PGSQL.5432")) <= longestPathBytes;
}
