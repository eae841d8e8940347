import { randomBytes } from "node:crypto";
import { hash, parseOptions, verify } from "@node-rs/argon2";
import { isCommonPassword } from "./common-password.ts";

const FEWEST_CODE_POINTS = 12;
const MOST_CODE_POINTS = 256;
/** argon2id, the library's default kind, with a salt of 16 octets that it draws itself. */
const COST = { memoryCost: 19 * 1024, timeCost: 2, parallelism: 1, outputLen: 32 };
/** As `parseOptions` numbers them; the library's own names are ambient const enums, which type stripping cannot read. */
const ARGON2ID = 2;
const VERSION_19 = 1;
/** 4 hashes hold 76 MiB and all of libuv's threads; 64 more wait a second at most. */
const MOST_RUNNING = 4;
const MOST_WAITING = 64;

/** A hash of no password, to be computed where no user is found. */
const DUMMY = `$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=${COST.parallelism}$${unpadded(16)}$${unpadded(COST.outputLen)}`;

export type PasswordRule = "too_short" | "too_long" | "common" | "equals_user_name" | "equals_email";

/**
 * The rules that a new password breaks (access.md, section 5.1); none: it may be set. Length counts code points after
 * NFC. Names are compared as directory compares them, so that a change of case is no way around.
 */
export function brokenPasswordRules(
  password: string,
  owner: { username: string | null; email: string | null },
): PasswordRule[] {
  const normal = password.normalize("NFC");
  const length = [...normal].length;
  if (length < FEWEST_CODE_POINTS) return ["too_short"];
  if (length > MOST_CODE_POINTS) return ["too_long"];
  const broken: PasswordRule[] = [];
  if (isCommonPassword(normal)) broken.push("common");
  if (owner.username !== null && fold(owner.username) === fold(normal)) broken.push("equals_user_name");
  if (owner.email !== null && fold(owner.email) === fold(normal)) broken.push("equals_email");
  return broken;
}

/** Hashes a password to a PHC string. `busy`: too many hashes wait already; answer 503 with `Retry-After: 1`. */
export async function hashPassword(password: string): Promise<{ phc: string } | "busy"> {
  const phc = gate.run(() => hash(password.normalize("NFC"), COST));
  return phc === "busy" ? phc : { phc: await phc };
}

/**
 * Compares a password with a stored PHC string; null (no such user, no password) costs the same time and is `wrong`.
 * `busy` as for hashing: nothing was compared, and nothing is to be counted as a failure.
 */
export async function verifyPassword(phc: string | null, password: string): Promise<"right" | "wrong" | "busy"> {
  const matches = gate.run(() => verify(phc ?? DUMMY, password.normalize("NFC")));
  if (matches === "busy") return "busy";
  return (await matches) && phc !== null ? "right" : "wrong";
}

/** Whether a stored PHC string is weaker than what is made now; ask after a right log-in, when the password is at hand. */
export function needsRehash(phc: string): boolean {
  const { algorithm, version, memoryCost, timeCost, parallelism, outputLen, saltLen } = parseOptions(phc);
  if ((algorithm as number) !== ARGON2ID || (version as number) !== VERSION_19) return true;
  if (memoryCost < COST.memoryCost || timeCost < COST.timeCost || parallelism < COST.parallelism) return true;
  return outputLen < COST.outputLen || saltLen < 16;
}

/** Lets so many tasks run and so many wait, in order; `run` refuses the next one at once, before it costs anything. */
export function createHashGate(mostRunning: number, mostWaiting: number) {
  let running = 0;
  const waiting: (() => void)[] = [];
  async function runNow<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  }
  return {
    run<T>(task: () => Promise<T>): Promise<T> | "busy" {
      if (running < mostRunning) {
        running += 1;
        return runNow(task);
      }
      if (waiting.length >= mostWaiting) return "busy";
      return new Promise<void>((resolve) => waiting.push(resolve)).then(() => runNow(task));
    },
  };
}

const gate = createHashGate(MOST_RUNNING, MOST_WAITING);

/** As directory compares user names and e-mail addresses: without case, independent of any locale. */
function fold(text: string): string {
  return text.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
}

function unpadded(octets: number): string {
  return randomBytes(octets).toString("base64").replaceAll("=", "");
}
