/** What `demarc listen` was asked for, checked as far as it can be without the server. */
import { randomBytes } from "node:crypto";
import { readSecret } from "../../sdk/verify-webhook.ts";
import { usage } from "./faults.ts";

/** As commander hands them over. */
export type Given = {
  url: string;
  version: string;
  destination: string;
  types?: string;
  tenant?: string;
  below?: true;
  durable?: string;
  cursorFile?: string;
  from?: string;
  transport: "stomp" | "stream" | "poll";
  forward?: string;
  secret?: string;
  format: "json" | "pretty";
  count?: string;
  quiet?: true;
  giveUp?: string;
};

/** What of the log is heard, as its feed and stream take it. */
export type Filter = { version: string; types: string | null; subject: string | null };

export type Options = {
  /** Without a slash at the end. */
  url: string;
  version: string;
  destination: string;
  types: string | null;
  tenant: string | null;
  below: boolean;
  transport: Given["transport"];
  /** Where the place is kept. */
  keeps: { in: "file"; file: string } | { in: "durable"; name: string } | { in: "queue" };
  from: string | null;
  filter: Filter | null;
  forward: { url: string; secret: string; giveUpMs: number } | null;
  /** It was made here: the user has yet to be told. */
  isSecretNew: boolean;
  format: Given["format"];
  count: number;
};

/** Topics of events, as the specification of destinations has them: the parts that a feed knows too. */
const topic = /^\/topic(?:\/(?<label>v\d+))?\/event(?:\/(?<kind>\w+(?:\.\w+)?)(?:\/(?<subject>[\w.-]+))?)?$/;

/**
 * Checks options against each other.
 * @throws Stop (usage) for what cannot be, whatever the server says
 */
export function readOptions(given: Given): Options {
  const { destination, transport } = given;
  const keeps = keepsOf(given);
  if (destination === "/user/queue/session")
    throw usage("Notices of a session are not in the log: listen to something else.");
  if (transport !== "stomp" && keeps.in !== "file")
    throw usage(`--transport ${transport} keeps its place in a file: it takes neither --durable nor a queue.`);
  if (keeps.in === "queue" && (given.from || given.types || given.tenant || given.below))
    throw usage("A queue has its own types, place and tenants: --from, --types, --tenant and --below are not for it.");
  if (given.secret && !given.forward) throw usage("--secret signs what --forward sends: give both.");
  if (given.giveUp && !given.forward) throw usage("--give-up is about --forward: give both.");
  return {
    url: addressOf(given.url, "--url").replace(/\/+$/, ""),
    version: given.version,
    destination,
    types: given.types ?? null,
    tenant: given.tenant ?? null,
    below: given.below === true,
    transport,
    keeps,
    from: keeps.in === "queue" ? null : (given.from ?? "now"),
    filter: transport === "stomp" ? null : filterOf(given),
    forward: forwardOf(given),
    isSecretNew: given.forward !== undefined && !given.secret,
    format: given.format,
    count: given.count === undefined ? Number.POSITIVE_INFINITY : wholeNumber(given.count),
  };
}

function keepsOf({ destination, durable, cursorFile }: Given): Options["keeps"] {
  if (destination.startsWith("/queue/")) {
    if (durable || cursorFile)
      throw usage("A queue keeps its own place: it takes neither --durable nor --cursor-file.");
    return { in: "queue" };
  }
  if (!durable) return { in: "file", file: cursorFile ?? ".demarc-cursor" };
  if (cursorFile) throw usage("The place is kept on the server or here: give --durable or --cursor-file, not both.");
  if (!destination.startsWith("/topic/")) throw usage("--durable needs a topic.");
  return { in: "durable", name: durable };
}

function filterOf({ destination, types, transport, version }: Given): Filter {
  const parts = topic.exec(destination)?.groups;
  if (!parts) throw usage(`--transport ${transport} hears topics of events alone: /topic/event and what is below it.`);
  const { label, kind, subject } = parts;
  if (kind && types) throw usage(`--transport ${transport} takes --types or a narrower --destination, not both.`);
  return {
    version: label ?? version,
    types: kind ? `demarc.${kind}.*` : (types ?? null),
    subject: subject ?? null,
  };
}

function forwardOf({ forward, secret, giveUp }: Given): Options["forward"] {
  if (!forward) return null;
  try {
    if (secret) readSecret(secret);
  } catch (error) {
    throw usage(`--secret: ${(error as Error).message}`);
  }
  const minutes = giveUp === undefined ? Number.POSITIVE_INFINITY : Number(giveUp);
  if (!(minutes > 0)) throw usage("--give-up takes minutes, above 0.");
  return { url: addressOf(forward, "--forward"), secret: secret || newSecret(), giveUpMs: minutes * 60_000 };
}

const newSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`;

function addressOf(text: string, option: string): string {
  const address = URL.parse(text);
  if (address?.protocol !== "https:" && address?.protocol !== "http:")
    throw usage(`${option} takes an address that begins with https:// or http://.`);
  if (address.username || address.password) throw usage(`${option}: no credential belongs into an address.`);
  return address.href;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw usage("--count takes a whole number above 0.");
  return number;
}
