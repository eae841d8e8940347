// CONNECT and STOMP, which are the same: version, heart-beat, credential.
import type { Credential } from "./contract.ts";
import { type Refusal, refuse } from "./faults.ts";
import type { Frame, Version } from "./frame.ts";
import { agreeHeartBeat, type HeartBeat, noHeartBeat, parseHeartBeat } from "./heart-beat.ts";

/** What CONNECT asked for, agreed where it can be without knowing who asks. */
export type Greeting = { version: Version; heartBeat: HeartBeat; credential: Credential | null; login: string | null };

const versions: readonly Version[] = ["1.2", "1.1", "1.0"];

export function readConnect(frame: Frame, offer: readonly [number, number]): Greeting | Refusal {
  if (frame.body.length > 0) return refuse("body_not_allowed");
  const version = agreeVersion(frame.headers.get("accept-version"));
  if (version === null) return { code: "version_not_supported", headers: [["version", "1.0,1.1,1.2"]] };
  const pair = frame.headers.get("heart-beat");
  let heartBeat = noHeartBeat;
  if (pair !== undefined && version !== "1.0") {
    const theirs = parseHeartBeat(pair);
    if (theirs === null) return refuse("header_invalid", "heart-beat is two numbers of milliseconds with a comma.");
    heartBeat = agreeHeartBeat(offer, theirs);
  }
  const credentials = findCredentials(frame);
  if (credentials.length > 1) return refuse("header_conflict", "CONNECT has more than one credential.");
  const login = frame.headers.get("login") ?? null;
  return { version, heartBeat, credential: credentials[0] ?? null, login };
}

function agreeVersion(accepted: string | undefined): Version | null {
  if (accepted === undefined) return "1.0";
  const offered = accepted.split(",").map((version) => version.trim());
  return versions.find((version) => offered.includes(version)) ?? null;
}

/** Names in any case; blanks around a value are no part of a credential. Two names that differ by case are two. */
function findCredentials(frame: Frame): Credential[] {
  const found: Credential[] = [];
  for (const [name, value] of frame.headers) {
    const header = name.trim().toLowerCase();
    if (header === "authorization" || header === "x-api-key" || header === "passcode")
      found.push({ header, value: value.trim() });
  }
  return found;
}
