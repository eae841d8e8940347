/**
 * Golden files: what goes in, and every frame and wish that comes out of it.
 *   > octets of the client     ? an answer or another input, as JSON     @ milliseconds pass     = settings, as JSON
 *   ~ a version: a session that is connected with it
 *   < octets of a frame or beat     ! a wish, as JSON
 * A blank line ends a case, a line with # names the next one. Octets are written as \n \r \\ \0 or \xHH.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import type { Input } from "./contract.ts";
import type { Version } from "./frame.ts";
import { chatSettings, connect, type Driver, eventsOf, give, newDriver, pass, receive } from "./session.fixture.ts";

const folder = new URL("golden/", import.meta.url);

function unescapeOctets(text: string): Buffer {
  const plain: Record<string, string> = { n: "\n", r: "\r", "\\": "\\", "0": "\0" };
  const latin = Buffer.from(text)
    .toString("latin1")
    .replaceAll(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex?: string, letter?: string) =>
      hex === undefined ? plain[letter!]! : String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return Buffer.from(latin, "latin1");
}

function escapeOctets(bytes: Buffer): string {
  return bytes.toString("latin1").replaceAll(/[^ -[\]-~]/g, (octet) => {
    const known = { "\n": "\\n", "\r": "\\r", "\\": "\\\\", "\0": "\\0" }[octet];
    return known ?? `\\x${octet.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** Inputs as JSON; events by subscription, positions and number of deliveries. */
function inputOf(text: string): Input {
  const input = JSON.parse(text);
  return input.kind === "events" && input.batch === undefined
    ? { ...input, ...eventsOf(input.subscription, input.positions ?? [], input.deliveries) }
    : input;
}

function act(driver: Driver, line: string): void {
  const text = line.slice(2);
  if (line[0] === ">") receive(driver, unescapeOctets(text));
  else if (line[0] === "~") connect(driver, text as Version);
  else if (line[0] === "?") give(driver, inputOf(text));
  else pass(driver, Number(text));
}

/** The case as it is played: its own inputs, with what really came out of each. */
function play(lines: readonly string[]): string[] {
  const own = lines[0]!.startsWith("= ") ? JSON.parse(lines[0]!.slice(2)) : {};
  const driver = newDriver(own.chat === true ? { ...own, chat: chatSettings.chat } : own);
  const played: string[] = [];
  const tell = () => {
    for (const one of driver.emitted.splice(0))
      played.push("wish" in one ? `! ${JSON.stringify(one.wish)}` : `< ${escapeOctets(one.bytes)}`);
  };
  driver.emitted = [];
  for (const line of lines) {
    if (line[0] === "<" || line[0] === "!") continue;
    played.push(line);
    if (line[0] !== "=") act(driver, line);
    tell();
  }
  return played;
}

for (const name of readdirSync(folder).sort()) {
  for (const part of readFileSync(new URL(name, folder), "utf8").trim().split("\n\n")) {
    const [title, ...lines] = part.split("\n");
    test(`golden ${name}: ${title!.slice(2)}`, () => assert.deepEqual(play(lines), lines));
  }
}
