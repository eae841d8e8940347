/** Every setting of the server: the only reader of the environment. All faults are reported at once. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import ipaddr from "ipaddr.js";

type Setting<T> = { about: string; fallback: string; read(text: string): T };

class Fault extends Error {}

function text(about: string, fallback = ""): Setting<string> {
  return { about, fallback, read: (value) => value };
}
function integer(about: string, fallback: number, least: number, most: number): Setting<number> {
  return {
    about,
    fallback: String(fallback),
    read(value) {
      const number = Number(value);
      if (!/^\d+$/.test(value) || number < least || number > most)
        throw new Fault(`must be a whole number from ${least} to ${most}`);
      return number;
    },
  };
}
function choice<const V extends readonly string[]>(about: string, values: V, fallback: V[number]): Setting<V[number]> {
  return {
    about,
    fallback,
    read(value) {
      if (!values.includes(value)) throw new Fault(`must be one of ${values.join(", ")}`);
      return value;
    },
  };
}
function onOff(about: string, fallback: "on" | "off"): Setting<boolean> {
  const setting = choice(about, ["on", "off"], fallback);
  return { about, fallback, read: (value) => setting.read(value) === "on" };
}
function list(about: string, check: (part: string) => boolean, wanted: string, fallback = ""): Setting<string[]> {
  return {
    about,
    fallback,
    read(value) {
      const parts = value
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean);
      const wrong = parts.find((part) => !check(part));
      if (wrong !== undefined) throw new Fault(`holds ${JSON.stringify(wrong)}, which is not ${wanted}`);
      return parts;
    },
  };
}
const isNetwork = (part: string) => ipaddr.isValid(part) || ipaddr.isValidCIDR(part);

export const settings = {
  DEMARC_PORT: integer("Port to listen on.", 8080, 1, 65_535),
  DEMARC_HOST: text("Address to listen on.", "127.0.0.1"),
  DEMARC_PUBLIC_URL: text(
    "Address by which callers reach the server; also the OAuth issuer. Default: http://localhost and the port.",
  ),
  DEMARC_DATA_DIR: text("Directory of the embedded database, the master key and demo.json.", "data"),
  DEMARC_DATABASE_URL: text("A PostgreSQL of yours (15 or newer) instead of the embedded one."),
  DEMARC_DATABASE_POOL: integer("Connections for transactions and slow reads.", 10, 2, 200),
  DEMARC_DEMO: onOff("Fill an empty database with a demo provider, its customers and their watches.", "on"),
  DEMARC_ENV: choice(
    "`production` refuses what is convenient but unsafe.",
    ["development", "production"],
    "development",
  ),
  DEMARC_LOG_LEVEL: choice("Least level of log lines.", ["trace", "debug", "info", "warn", "error", "silent"], "info"),
  DEMARC_MASTER_KEY_FILE: text("File of master keys, lines `kid:base64`, the first is active. Not readable by others."),
  DEMARC_MASTER_KEYS: text("Master keys in place of a file, comma-separated."),
  DEMARC_TRUSTED_PROXIES: list(
    "Proxies whose X-Forwarded-For is believed: addresses or CIDR ranges.",
    isNetwork,
    "an address or a CIDR range",
  ),
  DEMARC_OUTBOUND_ALLOW: list(
    "Networks that outbound calls and device tests may reach beside public addresses.",
    isNetwork,
    "an address or a CIDR range",
  ),
  DEMARC_CORS_ORIGINS: list(
    "Origins whose pages may call the API.",
    (part) => URL.canParse(part) && new URL(part).origin === part,
    "an origin",
  ),
  DEMARC_TCP_PROBE_PORTS: list(
    "Ports that a device test may connect to.",
    (part) => /^\d+$/.test(part) && Number(part) > 0 && Number(part) < 65_536,
    "a port",
    "22,80,443,830",
  ),
  DEMARC_OAUTH_PASSWORD_GRANT: onOff("Whether tenants may be given the OAuth password grant.", "on"),
  DEMARC_OAUTH_ALG: choice("Algorithm that signs access tokens.", ["RS256", "ES256"], "RS256"),
  DEMARC_SMTP_URL: text(
    "Mail server, as `smtp://user:password@host:587` or `smtps://...`. None: in development mails become files in the data directory, in production what needs a mail is refused.",
  ),
  DEMARC_MAIL_FROM: text("Sender of mails, as `Name <address>`.", "Demarc <demarc@localhost>"),
  DEMARC_ACTIVITY_DAYS: integer("Days that the activity log is kept.", 30, 1, 400),
  DEMARC_AUDIT_MONTHS: integer("Whole months that the audit trail is kept.", 24, 24, 120),
  DEMARC_AUDIT_HEADS_FILE: text(
    "File to which the signed heads of the audit trail are appended, one JSON object a line.",
  ),
  DEMARC_TENANT_PURGE_DAYS: integer("Days between the deletion of a tenant and its purge.", 30, 0, 90),
  DEMARC_EVENTS_RETENTION_DAYS: integer("Days that the event log is kept.", 30, 1, 400),
  DEMARC_REQUEST_SECONDS: integer("Seconds in which a request must have arrived, body included.", 30, 1, 600),
  DEMARC_STOMP_LOGIN_SECONDS: integer("Seconds from the WebSocket handshake to CONNECTED.", 10, 1, 300),
  DEMARC_STOMP_PRE_LOGIN_BYTES: integer("Octets that a client may send before CONNECTED.", 16_384, 1_024, 1_048_576),
  DEMARC_STOMP_HEART_BEAT: list(
    "Milliseconds: how often a STOMP session can send, and how often it wants to hear.",
    (part) => /^\d{1,6}$/.test(part) && (Number(part) === 0 || Number(part) >= 500),
    "0 or 500 and more milliseconds",
    "10000,10000",
  ),
  DEMARC_STOMP_MAX_DELIVERIES: integer("Deliveries after which a refused event is parked.", 10, 1, 100),
  DEMARC_STOMP_ORIGINS: list(
    "Origins whose pages may open STOMP sessions.",
    (part) => URL.canParse(part) && new URL(part).origin === part,
    "an origin",
  ),
  DEMARC_STOMP_TCP_PORT: integer("Port of STOMP over TCP, on loopback only; 0: none.", 0, 0, 65_535),
  DEMARC_STOMP_SESSIONS: list(
    "STOMP sessions at most: of a principal, of a tenant, of a server.",
    (part) => /^[1-9]\d{0,5}$/.test(part),
    "a number from 1",
    "20,200,10000",
  ),
  DEMARC_STOMP_PROFILE: choice(
    "`chat` lets clients SEND to each other, for trying client libraries; refused in production.",
    ["events", "chat"],
    "events",
  ),
  DEMARC_STOMP_CHAT_PATTERNS: list(
    "Destinations of the chat profile; `*` is any run of characters.",
    (part) => /^\/(?:topic|queue)\//.test(part),
    "a pattern below /topic/ or /queue/",
    "/topic/*,/queue/*",
  ),
  DEMARC_STOMP_CHAT_LOGINS: list(
    "Logins of the chat profile, as `name:password`.",
    (part) => /^[^:]+:.+$/.test(part),
    "name:password",
  ),
  DEMARC_STOMP_CHAT_PATH: text("A second address of STOMP over WebSocket in the chat profile, such as `/ws`."),
  DEMARC_REDIS_URL: text("A Redis or Valkey that counts for the limits: redis:// or, over TLS, rediss://."),
  DEMARC_LIMITER: choice(
    "Where limits are counted without Redis. `auto`: in memory while the server is alone on its database, in PostgreSQL while others are there.",
    ["auto", "memory", "postgres"],
    "auto",
  ),
  DEMARC_DOCS_ACCESS: choice(
    "Who may read the pages and documents of this server: everybody, or whoever shows a key or a token, or has logged in in the browser.",
    ["public", "signed-in"],
    "public",
  ),
  DEMARC_BETA: onOff("Whether the label `beta` exists.", "on"),
} as const satisfies Record<string, Setting<unknown>>;

export type Config = {
  [K in keyof typeof settings as K extends `DEMARC_${infer N}` ? N : never]: (typeof settings)[K] extends Setting<
    infer T
  >
    ? T
    : never;
};

export class ConfigError extends Error {}

/** Reads all settings. Throws a ConfigError that lists every unknown name and every bad value. */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const faults: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.startsWith("DEMARC_") && !(name in settings)) faults.push(`${name} is not a setting of Demarc`);
  }
  const config: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings) as [string, Setting<unknown>][]) {
    const given = environment[name];
    try {
      config[name.slice("DEMARC_".length)] = setting.read(
        given === undefined || given === "" ? setting.fallback : given,
      );
    } catch (error) {
      faults.push(`${name} ${(error as Error).message} (it is ${JSON.stringify(given)})`);
    }
  }
  const { DATABASE_URL, PUBLIC_URL, REDIS_URL, LIMITER, SMTP_URL, MAIL_FROM } = config as Config;
  if (DATABASE_URL && !/^postgres(ql)?:\/\//.test(DATABASE_URL))
    faults.push("DEMARC_DATABASE_URL must begin with postgres://");
  if (REDIS_URL && !/^rediss?:\/\/./.test(REDIS_URL))
    faults.push("DEMARC_REDIS_URL must begin with redis:// or rediss://");
  if (REDIS_URL && LIMITER && LIMITER !== "auto") faults.push("DEMARC_REDIS_URL counts only with DEMARC_LIMITER=auto");
  if (PUBLIC_URL) faults.push(...publicUrlFaults(PUBLIC_URL));
  // Not shown: it holds a password.
  if (SMTP_URL && !/^smtps?:\/\/[^/]/.test(SMTP_URL))
    faults.push("DEMARC_SMTP_URL must begin with smtp:// or smtps://");
  if (SMTP_URL && !URL.canParse(SMTP_URL))
    faults.push("DEMARC_SMTP_URL is not a URL; encode what is special in a password");
  if (SMTP_URL && !environment.DEMARC_MAIL_FROM) faults.push("DEMARC_MAIL_FROM is needed with DEMARC_SMTP_URL");
  if (!/^(?:[^<>@\r\n]+<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/.test(MAIL_FROM))
    faults.push(`DEMARC_MAIL_FROM must be an address or \`Name <address>\` (it is ${JSON.stringify(MAIL_FROM)})`);
  faults.push(...stompFaults(config as Config));
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `  ${fault}`).join("\n"));
  config.DATA_DIR = resolve(String(config.DATA_DIR));
  return config as Config;
}

function stompFaults(config: Config): string[] {
  const faults: string[] = [];
  if (config.STOMP_HEART_BEAT?.length !== 2) faults.push("DEMARC_STOMP_HEART_BEAT must be two numbers");
  if (config.STOMP_SESSIONS?.length !== 3) faults.push("DEMARC_STOMP_SESSIONS must be three numbers");
  if (config.STOMP_PROFILE === "chat" && config.ENV === "production")
    faults.push("DEMARC_STOMP_PROFILE chat is not for production");
  if (config.STOMP_CHAT_PATH && !/^(?:\/[A-Za-z0-9._-]+)+$/.test(config.STOMP_CHAT_PATH))
    faults.push("DEMARC_STOMP_CHAT_PATH must be a path, such as /ws");
  return faults;
}

function publicUrlFaults(value: string): string[] {
  if (!URL.canParse(value)) return ["DEMARC_PUBLIC_URL is not a URL"];
  const url = new URL(value);
  const loopback = /^(localhost|127\..*|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !loopback) return ["DEMARC_PUBLIC_URL must be https, except on loopback"];
  if (value.endsWith("/") || url.search || url.hash)
    return ["DEMARC_PUBLIC_URL must have no trailing slash, query or fragment"];
  return [];
}

export const release: string = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
