/** Who asks for tokens, and how a client proves itself (RFC 6749, section 2.3): by Basic or in the body, never both. */
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { sql } from "kysely";
import { credentialDigest } from "#kernel/credential";
import { type Database, hot, query } from "#kernel/db";
import { createKept } from "#kernel/kept";
import { OAuthError } from "./error.ts";
import { decodeFormPart, type Form, invalidRequest } from "./form.ts";

export const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";
export const grantTypes = [
  "authorization_code",
  "client_credentials",
  "password",
  "refresh_token",
  deviceGrant,
] as const;
export type GrantType = (typeof grantTypes)[number];

export type OAuthClient = {
  id: string;
  name: string;
  /** Null: built in, the same in every installation, of no tenant. */
  tenantId: string | null;
  /** It has no secret, so it has proved nothing. */
  public: boolean;
  grants: readonly GrantType[];
  scopes: readonly string[];
  /** Where answers may be sent; those of built-in clients are known by their names (redirect.ts). */
  redirectUris: readonly string[];
  accessTokenSeconds: number;
};

const builtIn = (id: string, name: string, grants: readonly GrantType[]): [string, OAuthClient] => [
  id,
  {
    id,
    name,
    tenantId: null,
    public: true,
    grants,
    scopes: ["*"],
    redirectUris: [],
    accessTokenSeconds: 600,
  },
];
export const builtInClients: ReadonlyMap<string, OAuthClient> = new Map([
  builtIn("demarc-console", "Demarc console", ["authorization_code"]),
  builtIn("demarc-cli", "Demarc command line", ["authorization_code", "refresh_token", deviceGrant]),
  builtIn("demarc-docs", "Demarc documentation", ["authorization_code", "password"]),
  builtIn("demarc-password", "Password grant", ["password"]),
]);

const grantsOfKind: Record<"service" | "application", readonly GrantType[]> = {
  service: ["client_credentials"],
  application: ["authorization_code", "refresh_token", "password"],
};

type Found = {
  id: string;
  tenantId: string;
  kind: "service" | "application";
  name: string;
  scopes: string[];
  redirectUris: string[];
  public: boolean;
  accessTokenSeconds: number;
  secrets: { digest: string; expiresAt: string | null }[];
};
const findClient = hot<{ id: string; at: Date }, Found>("oauth_client", ({ id, at }) =>
  query(sql`select c.id, c.tenant_id as "tenantId", c.kind, c.name, c.scopes,
      c.redirect_uris as "redirectUris", c.public, c.access_token_seconds as "accessTokenSeconds",
      array(select jsonb_build_object('digest', encode(s.digest, 'hex'), 'expiresAt', s.expires_at) from access.client_secret s
        where s.client_id = c.id and (s.expires_at is null or s.expires_at > ${at}) order by s.created_at desc limit 2) as secrets
    from access.client c where c.id = ${id} and c.enabled and c.deleted_at is null`),
);

/** A client as it stands, with the digests of its secrets and when each ends. */
type Registered = { client: OAuthClient; secrets: readonly { digest: Buffer; endsAtMs: number }[] };

export type ClientStore = {
  known(id: string): Registered | undefined;
  read(id: string, at: Date): Promise<Registered | undefined>;
};

const mostClients = 20_000;

/** Clients that have proved themselves lately are not read again: whatever takes from one calls `ctx.forget()`. */
export function createClientStore(system: Database, processes: Parameters<typeof createKept>[0]): ClientStore {
  const kept = createKept<Registered>(processes, mostClients);
  return {
    known: kept.known,
    read: (id, at) =>
      kept.read(id, async () => {
        const found = await system.in("").first(findClient({ id, at }));
        return found && registered(found);
      }),
  };
}

function registered({ secrets, kind, ...client }: Found): Registered {
  return {
    client: { ...client, grants: grantsOfKind[kind] },
    secrets: secrets.map(({ digest, expiresAt }) => ({
      digest: Buffer.from(digest, "hex"),
      endsAtMs: expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt),
    })),
  };
}

type Presented = { id: string; secret: string | null; by: "header" | "body" };

/**
 * The client of a call, proved where it has a secret. Throws `invalid_client` in one wording for every reason;
 * `onWrong` is told of it first and may refuse in its own way. A password grant that names no client gets a built-in one.
 */
export async function authenticateClient(
  clients: ClientStore,
  request: IncomingMessage,
  form: Form,
  at: Date,
  onWrong: () => Promise<OAuthError | null>,
): Promise<OAuthClient> {
  const presented = readClient(request, form);
  if (!presented) {
    const standIn = form.get("grant_type") === "password" ? builtInClients.get("demarc-password") : undefined;
    if (standIn) return standIn;
    throw invalidClient(false);
  }
  const client = await provenClient(clients, presented, at);
  if (client) return client;
  throw (await onWrong()) ?? invalidClient(presented.by === "header");
}

/** A client by its id alone: at the authorize address it proves nothing, and is known by where answers may go. */
export async function namedClient(system: Database, id: string, at: Date): Promise<OAuthClient | null> {
  const own = builtInClients.get(id);
  if (own) return own;
  const found = await system.in("").first(findClient({ id, at }));
  return found ? registered(found).client : null;
}

async function provenClient(clients: ClientStore, { id, secret }: Presented, at: Date): Promise<OAuthClient | null> {
  const own = builtInClients.get(id);
  if (own) return secret === null ? own : null;
  const digest = credentialDigest(secret ?? "");
  const known = clients.known(id);
  if (known && proves(known, secret, digest, at)) return known.client;
  // A secret that is not known here may be new.
  const found = await clients.read(id, at);
  return proves(found, secret, digest, at) ? found!.client : null;
}

const nothing = Buffer.alloc(32);

function proves(found: Registered | undefined, secret: string | null, digest: Buffer, at: Date): boolean {
  const live = found?.secrets.filter(({ endsAtMs }) => at.getTime() < endsAtMs) ?? [];
  // As many comparisons for a client that does not exist.
  const stored = [...live.map((one) => one.digest), nothing, nothing].slice(0, 2);
  const matches = stored.map((one) => timingSafeEqual(one, digest)).includes(true);
  return found !== undefined && found.client.public === (secret === null) && (found.client.public || matches);
}

function readClient(request: IncomingMessage, form: Form): Presented | null {
  const headers = request.rawHeaders.filter((_, index) => index % 2 === 1 && isAuthorization(request, index));
  if (headers.length > 1) throw invalidRequest("There are two Authorization headers.");
  const id = form.get("client_id") ?? null;
  const secret = form.get("client_secret") ?? null;
  const [header] = headers;
  if (header === undefined) {
    if (id === null && secret !== null) throw invalidRequest("A client_secret needs its client_id.");
    return id === null ? null : { id, secret, by: "body" };
  }
  if (/^bearer\b/i.test(header))
    throw invalidRequest("This address takes no bearer credential: send that of a client.");
  if (secret !== null) throw invalidRequest("The client proves itself twice: use the header or the body.");
  const basic = readBasic(header);
  if (!basic) throw invalidClient(true);
  if (id !== null && id !== basic.id) throw invalidRequest("The header and the body name different clients.");
  return { ...basic, by: "header" };
}

function isAuthorization(request: IncomingMessage, valueIndex: number): boolean {
  return request.rawHeaders[valueIndex - 1]!.toLowerCase() === "authorization";
}

/** Both parts of Basic are form-encoded before they are joined (RFC 6749, section 2.3.1). */
function readBasic(header: string): { id: string; secret: string } | null {
  const encoded = /^basic[ \t]+([A-Za-z0-9+/_=-]+)[ \t]*$/i.exec(header)?.[1];
  if (encoded === undefined) return null;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const mark = text.indexOf(":");
  if (mark < 1) return null;
  const id = decodeFormPart(text.slice(0, mark));
  const secret = decodeFormPart(text.slice(mark + 1));
  return id === null || secret === null ? null : { id, secret };
}

function invalidClient(byHeader: boolean): OAuthError {
  return new OAuthError("invalid_client", "The client is not known, or did not prove itself.", {
    headers: byHeader ? { "www-authenticate": 'Basic realm="demarc", charset="UTF-8"' } : {},
  });
}
