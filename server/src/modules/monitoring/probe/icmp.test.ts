import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { probeIcmp, readPing } from "./icmp.ts";

const folder = await mkdtemp(join(tmpdir(), "demarc-ping-"));
after(() => rm(folder, { recursive: true }));
const never = new AbortController().signal;

/** An executable in place of the system's ping. */
async function makeProgram(name: string, script: string): Promise<string> {
  const program = join(folder, name);
  await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return program;
}

const iputils = `PING 192.0.2.10 (192.0.2.10) 56(84) bytes of data.

--- 192.0.2.10 ping statistics ---
4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 3048ms
rtt min/avg/max/mdev = 0.031/0.377/1.360/0.567 ms
`;

test("the summary of iputils is read, with losses and duplicates", () => {
  const measured = { outcome: "measured", sent: 4, received: 3, minMs: 0.031, avgMs: 0.377, maxMs: 1.36 };
  assert.deepEqual(readPing(iputils), measured);
});

test("the summary of BusyBox is read", () => {
  const output = `PING ::1 (::1): 56 data bytes

--- ::1 ping statistics ---
4 packets transmitted, 4 packets received, 0% packet loss
round-trip min/avg/max = 0.053/0.063/12.073 ms
`;
  const measured = { outcome: "measured", sent: 4, received: 4, minMs: 0.053, avgMs: 0.063, maxMs: 12.073 };
  assert.deepEqual(readPing(output), measured);
});

test("when no echo came back there are counts and no times", () => {
  const output = `--- 192.0.2.10 ping statistics ---
4 packets transmitted, 0 received, +2 errors, 100% packet loss, time 3002ms
`;
  const measured = { outcome: "measured", sent: 4, received: 0, minMs: null, avgMs: null, maxMs: null };
  assert.deepEqual(readPing(output), measured);
});

test("ping gets the address as one argument of its own and none of the server's environment", async () => {
  const args = join(folder, "args");
  const program = await makeProgram(
    "echoing",
    `printf '%s\\n' "$@" > ${args}; env >> ${args}; printf '%s' '${iputils}'`,
  );
  process.env.DEMARC_TEST_SECRET = "s3cret";
  const outcome = await probeIcmp("192.0.2.10", never, { program });
  delete process.env.DEMARC_TEST_SECRET;
  const seen = (await readFile(args, "utf8")).split("\n");
  assert.equal(outcome.outcome, "measured");
  assert.deepEqual(seen.slice(0, 6), ["-q", "-c", "4", "-W", "1", "192.0.2.10"]);
  assert.ok(!seen.some((line) => line.includes("s3cret")));
});

test("a machine without ping, or a process that may not use it, is not_available", async () => {
  const none = await probeIcmp("127.0.0.1", never, { program: join(folder, "nothing-here") });
  assert.deepEqual(none, { outcome: "not_available" });
  const program = await makeProgram("refused", "echo 'ping: permission denied (are you root?)' >&2; exit 1");
  assert.deepEqual(await probeIcmp("127.0.0.1", never, { program }), { outcome: "not_available" });
});

test("an abort ends the running ping", async () => {
  const pidFile = join(folder, "pid");
  const program = await makeProgram(
    "endless",
    `echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; exec tail -f /dev/null`,
  );
  const controller = new AbortController();
  const probing = probeIcmp("127.0.0.1", controller.signal, { program });
  let pid = 0;
  while (pid === 0) pid = Number(await readFile(pidFile, "utf8").catch(() => turn("0")));
  controller.abort(new Error("stopped by the caller"));
  await assert.rejects(probing, /stopped by the caller/);
  const isRunning = () => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  while (isRunning()) await turn();
});
