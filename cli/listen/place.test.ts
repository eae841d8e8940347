import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Stop } from "./faults.ts";
import { holdAlone, lockAddress, openPlace, placeOnServer } from "./place.ts";

const folder = mkdtempSync(join(tmpdir(), "demarc-place-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => join(folder, `place${++files}`);
const isUsage = (error: unknown) => error instanceof Stop && error.exitCode === 2;
const idOf = (n: number) => `evt_${String(n).padStart(26, "0")}`;

test("a place is kept whole, beside it the last 1,000 ids, and both are found again", async () => {
  const file = newFile();
  const place = await openPlace(file);
  assert.equal(place.cursor(), null);
  place.keep("AAA");
  for (let n = 0; n < 2_500; n++) place.remember(idOf(n));
  assert.deepEqual([place.knows(idOf(1_499)), place.knows(idOf(1_500))], [false, true]);
  place.keep("BBB");
  assert.equal(readFileSync(file, "utf8"), "BBB\n");
  assert.ok(readFileSync(`${file}.ids`, "utf8").trim().split("\n").length < 2_000);
  assert.ok(!existsSync(`${file}.new`) && !existsSync(`${file}.ids.new`));
  // As another process finds it.
  const copy = newFile();
  writeFileSync(copy, readFileSync(file));
  // The last line of a process that was killed may be torn.
  writeFileSync(`${copy}.ids`, `${readFileSync(`${file}.ids`, "utf8")}evt_`);
  const next = await openPlace(copy);
  assert.equal(next.cursor(), "BBB");
  assert.deepEqual([next.knows(idOf(1_499)), next.knows(idOf(1_500)), next.knows(idOf(2_499))], [false, true, true]);
  next.remember(idOf(9_999));
  assert.match(readFileSync(`${copy}.ids`, "utf8"), /^(evt_\d{26}\n)+$/);
});

test("who removes the cursor begins anew: the ids beside it count no more", async () => {
  const file = newFile();
  writeFileSync(`${file}.ids`, `${idOf(1)}\n`);
  assert.equal((await openPlace(file)).knows(idOf(1)), false);
});

test("a file that holds no cursor is refused, not begun anew, and so is a folder that is not there", async () => {
  for (const content of ["", "two words", "x".repeat(65)]) {
    const file = newFile();
    writeFileSync(file, content);
    await assert.rejects(openPlace(file), isUsage);
    assert.equal(readFileSync(file, "utf8"), content);
  }
  await assert.rejects(openPlace(join(folder, "nowhere", "place")), isUsage);
});

test("a place is held once, also by way of a link, which stays one", async () => {
  const [file, link] = [newFile(), newFile()];
  writeFileSync(file, "AAA\n");
  symlinkSync(file, link);
  const place = await openPlace(link);
  await assert.rejects(openPlace(file), isUsage);
  place.keep("BBB");
  assert.equal(readFileSync(file, "utf8"), "BBB\n");
});

test("a socket in a folder, where the system knows no other, is taken over from a process that was killed", async () => {
  const address = join(folder, "held.sock");
  const holder = `require("node:net").createServer().listen(${JSON.stringify(address)}, () => console.log("held"))`;
  const child = spawn(process.execPath, ["-e", holder], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  assert.equal(await holdAlone(address), false);
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.ok(existsSync(address));
  assert.equal(await holdAlone(address), true);
  assert.equal(await holdAlone(address), false);
  unlinkSync(address);
  assert.match(lockAddress("/a", "darwin"), /^\/.*demarc-listen-[0-9a-f]{32}\.sock$/);
  assert.match(lockAddress("C:\\a", "win32"), /^\\\\\?\\pipe\\demarc-listen-/);
});

test("for a durable or a queue the ids are this process's, and there is no file", () => {
  const place = placeOnServer();
  place.keep("AAA");
  place.remember(idOf(1));
  assert.deepEqual([place.cursor(), place.knows(idOf(1)), place.knows(idOf(2))], [null, true, false]);
});
