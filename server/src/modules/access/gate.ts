/**
 * Who a credential is: the one resolver behind HTTP, STOMP and every dialect (access, sections 2 and 4). What it finds
 * is kept for at most 30 s, and dropped at once when anything is taken away, in whatever process: `forget` is called when
 * such a change is heard of, before its reply leaves, and a look-up that was under way meanwhile is made again. While the
 * process cannot be sure to hear of such changes (`isCurrent`), nothing kept is used.
 */
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import { inNetworks } from "#kernel/address";
import { credentialDigest, credentialForm, credentialMark } from "#kernel/credential";
import { type Database, type Db, query } from "#kernel/db";
import { createFreshReader, keptMs } from "#kernel/kept";
import type { Gate, RefusalReason, Standing, Verdict } from "#kernel/kernel";
import { type Permission, providerOnly } from "#kernel/permissions";
import type { Actor, Grant, Lane, LaneName, Principal, TenantCard, Within } from "#kernel/principal";
import { userStanding } from "#modules/directory";
import { allowedBy, builtInRoles, heldWithin } from "./roles.ts";

const most = 20_000;
/** Why somebody may not act who may again some day: keys sleep with a blocked user and wake with it. */
const comesBack: ReadonlySet<RefusalReason> = new Set(["disabled", "blocked"]);

type Known = { verdict: Verdict; expiresAtMs: number; addresses: readonly string[] | null; keyId: string };
type KeyFound = {
  id: string;
  tenant_id: string;
  kind: "standard" | "integration" | "personal" | "bound";
  title: string;
  hint: string;
  user_id: string | null;
  responsible_user_id: string | null;
  scopes: string[];
  read_only: boolean;
  expires_at: Date | null;
  allowed_addresses: string[];
  enabled: boolean;
  deleted: boolean;
  secret_expires_at: Date | null;
  bound: Principal["bound"];
};
type Stood = { standing: Standing; untilMs: number };
type ActorFound = {
  name: string;
  live: boolean;
  reason: RefusalReason | null;
  expiresAt: Date | null;
  grants: { role: string; custom: Record<string, string> | null; kind: Within["kind"]; id: string }[];
};

export type TokenCheck = (token: string, now: Date) => Promise<TokenFound | RefusalReason>;
/** What a verified access token says. */
export type TokenFound = {
  tenantId: string;
  actor: { kind: "user" | "client"; id: string };
  clientId: string;
  tokenId: string;
  grantId: string | null;
  scopes: string[];
  authTime: Date | null;
  expiresAt: Date;
};

type Parts = {
  system: Database;
  now(): Date;
  /** Whether this process may trust what it keeps (kernel/processes.ts). */
  isCurrent(): boolean;
  /** Checks the form, signature and claims of an access token. */
  checkToken: TokenCheck;
  used(keyId: string, address: string): void;
  /** Counts a wrong credential of an address; seconds to wait when there were too many. */
  wrong(address: string): number | null | Promise<number | null>;
  /** A right key came from an address outside its list. */
  addressRefused(keyId: string, tenant: TenantCard, address: string): void;
};

export function createGate(parts: Parts): Gate & { forget(): void } {
  const { system, now, isCurrent } = parts;
  const known = new LRUCache<string, Known>({ max: most, ttl: keptMs });
  const cards = new LRUCache<string, TenantCard>({ max: most, ttl: keptMs });
  const standings = new LRUCache<string, Stood>({ max: most, ttl: keptMs });
  const under = new Map<string, Promise<unknown>>();
  const reader = createFreshReader(isCurrent);

  /**
   * One look-up for all who ask for the same at the same moment: after each change all of them would. What was not found
   * is looked for again, because it may have been made since.
   */
  async function together<T>(name: string, look: () => Promise<T>): Promise<T> {
    const running = isCurrent() ? (under.get(name) as Promise<T> | undefined) : undefined;
    const shared = running && (await running);
    if (shared) return shared;
    const mine = look().finally(() => {
      if (under.get(name) === mine) under.delete(name);
    });
    under.set(name, mine);
    return mine;
  }

  function authenticate(credential: string, address: string): Verdict | Promise<Verdict> {
    const form = credentialForm(credential);
    if (form === "bad_checksum")
      return wrong(address, { ok: false, reason: "malformed", tenantId: null, hint: "key_checksum" });
    const mark = credentialMark(credential);
    const entry = isCurrent() ? known.get(mark) : undefined;
    if (entry) return settle(entry, address);
    return look(credential, mark, address);
  }

  async function look(credential: string, mark: string, address: string): Promise<Verdict> {
    const isToken = credential.split(".").length === 3;
    const value = await together(mark, () =>
      reader.read(
        async () => {
          const token = isToken ? await byToken(credential) : null;
          // Keys of other systems may have two dots as well.
          const isOther = token === null || (!token.verdict.ok && token.verdict.reason === "malformed");
          return (isOther ? await byKey(credentialDigest(credential)) : null) ?? token;
        },
        (found) => found && known.set(mark, found),
      ),
    );
    if (!value) return wrong(address, { ok: false, reason: "unknown", tenantId: null });
    return settle(value, address);
  }

  function settle(entry: Known, address: string): Verdict | Promise<Verdict> {
    const { verdict } = entry;
    if (!verdict.ok) return wrong(address, verdict);
    if (now().getTime() >= entry.expiresAtMs)
      return wrong(address, { ok: false, reason: "expired", tenantId: verdict.who.tenant.id });
    if (entry.addresses && !inNetworks(address, entry.addresses)) {
      parts.addressRefused(entry.keyId, verdict.who.tenant, address);
      return wrong(address, { ok: false, reason: "address", tenantId: verdict.who.tenant.id });
    }
    if (verdict.who.via.kind === "key") parts.used(entry.keyId, address);
    return verdict;
  }

  async function wrong(address: string, verdict: Verdict & { ok: false }): Promise<Verdict> {
    const retryAfterSeconds = await parts.wrong(address);
    return retryAfterSeconds === null ? verdict : { ...verdict, retryAfterSeconds };
  }

  async function byKey(digest: Buffer): Promise<Known | null> {
    const key = await system.in("").first(findKey(digest));
    if (!key) return null;
    const expiresAtMs = Math.min(key.expires_at?.getTime() ?? Infinity, key.secret_expires_at?.getTime() ?? Infinity);
    const refuse = (reason: RefusalReason): Known => ({
      verdict: { ok: false, reason, tenantId: key.tenant_id },
      expiresAtMs,
      addresses: null,
      keyId: key.id,
    });
    if (key.deleted) return refuse("revoked");
    if (!key.enabled) return refuse("disabled");
    const card = await load(key.tenant_id);
    // It is being purged: nobody's log belongs to it any more.
    if (!card) return null;
    const actorKind = key.kind === "personal" ? "user" : "key";
    const actorId = key.kind === "personal" ? key.user_id! : key.id;
    const found = await actorOf(system.in(""), actorKind, actorId, now());
    if (!found?.live) return refuse(found?.reason ?? "revoked");
    const behind = key.responsible_user_id
      ? await actorOf(system.in(""), "user", key.responsible_user_id, now())
      : undefined;
    const who: Principal = {
      tenant: card,
      acting: card,
      actor: { kind: actorKind, id: actorId, name: actorKind === "user" ? found.name : key.title },
      onBehalfOf: behind && key.responsible_user_id ? { id: key.responsible_user_id, name: behind.name } : null,
      via: { kind: "key", id: key.id, hint: key.hint, clientId: null, grantId: null },
      scopes: key.scopes,
      readOnly: key.read_only,
      authTime: null,
      grants: grantsOf(found, card),
      bound: key.bound,
    };
    const endsAtMs = Math.min(expiresAtMs, found.expiresAt?.getTime() ?? Infinity);
    return {
      verdict: { ok: true, who, expiresAtMs: endsAtMs },
      expiresAtMs: endsAtMs,
      addresses: key.allowed_addresses.length > 0 ? key.allowed_addresses : null,
      keyId: key.id,
    };
  }

  async function byToken(token: string): Promise<Known | null> {
    const found = await parts.checkToken(token, now());
    // Not kept: the key that signed it may just have been made by another process.
    if (found === "unknown") return null;
    if (typeof found === "string") {
      return {
        verdict: { ok: false, reason: found, tenantId: null },
        expiresAtMs: Infinity,
        addresses: null,
        keyId: "",
      };
    }
    const refuse = (reason: RefusalReason): Known => ({
      verdict: { ok: false, reason, tenantId: found.tenantId },
      expiresAtMs: Infinity,
      addresses: null,
      keyId: "",
    });
    const [card, actor] = await Promise.all([
      load(found.tenantId),
      actorOf(system.in(""), found.actor.kind, found.actor.id, now()),
    ]);
    if (!card) return null;
    if (!actor?.live) return refuse(actor?.reason ?? "revoked");
    // Suspension ends tokens: unlike a key, a token cannot be told why.
    if (card.suspended) return refuse("revoked");
    const who: Principal = {
      tenant: card,
      acting: card,
      actor: { kind: found.actor.kind, id: found.actor.id, name: actor.name },
      onBehalfOf: null,
      via: { kind: "token", id: found.tokenId, hint: null, clientId: found.clientId, grantId: found.grantId },
      scopes: found.scopes,
      readOnly: false,
      authTime: found.authTime,
      grants: grantsOf(actor, card),
    };
    const endsAtMs = Math.min(found.expiresAt.getTime(), actor.expiresAt?.getTime() ?? Infinity);
    return {
      verdict: { ok: true, who, expiresAtMs: endsAtMs },
      expiresAtMs: endsAtMs,
      addresses: null,
      keyId: "",
    };
  }

  function load(idOrCode: string): Promise<TenantCard | null> {
    return together(`tenant ${idOrCode}`, () =>
      reader.read(
        async () => {
          const rows = await system.in("").rows(findLineage(idOrCode));
          return rows.length > 0 ? cardOf(rows) : null;
        },
        (card) => {
          if (!card) return;
          cards.set(card.id, card);
          cards.set(card.code, card);
        },
      ),
    );
  }

  async function standing(actor: { kind: string; id: string }, tenantId: string): Promise<Stood> {
    const kind = actor.kind as Actor["kind"];
    const [card, found] = await Promise.all([load(tenantId), actorOf(system.in(""), kind as "user", actor.id, now())]);
    const untilMs = found?.expiresAt?.getTime() ?? Infinity;
    if (!card || !found) return { standing: "gone", untilMs };
    if (!found.live) return { standing: comesBack.has(found.reason!) ? "off" : "gone", untilMs: Infinity };
    if (card.suspended) return { standing: "off", untilMs };
    const who: Principal = {
      tenant: card,
      acting: card,
      actor: { kind, id: actor.id, name: found.name },
      onBehalfOf: null,
      via: { kind: "job", id: "", hint: null, clientId: null, grantId: null },
      scopes: ["*"],
      readOnly: false,
      authTime: null,
      grants: grantsOf(found, card),
    };
    return { standing: who, untilMs };
  }

  return {
    authenticate,
    tenant: (idOrCode) => (isCurrent() && cards.get(idOrCode)) || load(idOrCode),
    async principalOf(actor, tenantId) {
      const found = (await standing(actor, tenantId)).standing;
      return typeof found === "string" ? null : found;
    },
    async standingOf(actor, tenantId) {
      const name = `standing ${actor.kind} ${actor.id} ${tenantId}`;
      const kept = isCurrent() ? standings.get(name) : undefined;
      if (kept && now().getTime() < kept.untilMs) return kept.standing;
      const look = () =>
        reader.read(
          () => standing(actor, tenantId),
          (found) => standings.set(name, found),
        );
      return (await together(name, look)).standing;
    },
    forget() {
      reader.forget();
      known.clear();
      cards.clear();
      standings.clear();
    },
  };
}

/** A kind of node that a permission's service does not know gives nothing of it; what is the provider's, nobody else has. */
function grantsOf(found: ActorFound, card: TenantCard): Grant[] {
  return found.grants.flatMap(({ role, custom, kind, id }) => {
    const whole = builtInRoles.get(role) ?? (custom ? allowedBy(custom) : undefined);
    if (!whole) return [];
    const counts = heldWithin(whole, kind);
    const isBarred = (name: Permission) => card.parentId !== null && providerOnly.has(name);
    // A built-in role stays the one set that it is: hand-out.ts knows roles by it.
    const held = [...counts].some(isBarred) ? new Set([...counts].filter((name) => !isBarred(name))) : counts;
    return held.size > 0 ? [{ permissions: held, within: { kind, id } }] : [];
  });
}

const findKey = (digest: Buffer) =>
  query<KeyFound>(sql`select k.id, k.tenant_id, k.kind, k.title, s.hint, k.user_id, k.responsible_user_id, k.scopes, k.read_only,
      k.expires_at, k.allowed_addresses, k.enabled, k.deleted_at is not null as deleted, s.expires_at as secret_expires_at, k.bound
    from access.key_secret s join access.key k on k.id = s.key_id where s.digest = ${digest}`);

/** An actor with its assignments. Whether a user is current is the directory's to say; whether it is blocked, ours. */
async function actorOf(db: Db, kind: "user" | "client" | "key", id: string, at: Date): Promise<ActorFound | undefined> {
  const grants = sql`(select coalesce(jsonb_agg(jsonb_build_object('role', a.role_id, 'custom', r.permissions, 'kind', a.within_kind, 'id', a.within_id)), '[]')
    from access.assignment a left join access.role r on r.id = a.role_id where a.principal_id = ${id}) as grants`;
  if (kind === "user") {
    const [standing, login] = await Promise.all([
      userStanding(db, id, at),
      db.first(
        query<{ blocked: boolean; grants: ActorFound["grants"] }>(
          sql`select exists (select from access.login l where l.user_id = ${id} and l.blocked_at is not null) as blocked, ${grants}`,
        ),
      ),
    ]);
    return (
      standing &&
      login && { ...standing, ...login, ...(login.blocked ? { live: false, reason: "blocked" as const } : {}) }
    );
  }
  if (kind === "client") {
    return db.first(
      query<ActorFound>(sql`select c.name, c.enabled and c.deleted_at is null as live,
        case when c.deleted_at is null then 'disabled' else 'revoked' end as reason, null::timestamptz as "expiresAt", ${grants}
      from access.client c where c.id = ${id}`),
    );
  }
  return db.first(
    query<ActorFound>(
      sql`select k.title as name, k.enabled and k.deleted_at is null and coalesce(k.expires_at > ${at}, true) as live,
        case when k.deleted_at is not null then 'revoked' when k.expires_at <= ${at} then 'expired' else 'disabled' end as reason,
        k.expires_at as "expiresAt", ${grants} from access.key k where k.id = ${id}`,
    ),
  );
}

type LineageRow = {
  id: string;
  parent_id: string | null;
  kind: TenantCard["kind"];
  name: string;
  code: string;
  time_zone: string;
  features: Record<string, boolean>;
  status: string;
  plan: { id: string; name: string; lanes: Record<LaneName, Lane> } | null;
};

/** A tenant and all above it, itself first. */
const findLineage = (idOrCode: string) =>
  query<LineageRow>(sql`select t.id, t.parent_id, t.kind, t.name, t.code, t.time_zone, t.features, t.status,
      (select jsonb_build_object('id', p.id, 'name', p.name, 'lanes', p.lanes) from access.plan p where p.id = t.plan_id) as plan
    from access.tenant self
    join access.tenant_ancestor a on a.tenant_id = self.id join access.tenant t on t.id = a.ancestor_id
    where self.id = ${idOrCode} or self.code = ${idOrCode} order by a.depth`);

function cardOf(rows: LineageRow[]): TenantCard {
  const self = rows[0]!;
  const features = Object.keys(self.features).filter((name) => rows.every((row) => row.features[name]));
  const plan = rows.find((row) => row.plan)?.plan;
  if (!plan) throw new Error(`No plan applies to the tenant ${self.id}: the root has lost its own.`);
  return {
    id: self.id,
    code: self.code,
    name: self.name,
    kind: self.kind,
    parentId: self.parent_id,
    lineage: rows.map((row) => row.id),
    timeZone: self.time_zone,
    suspended: rows.some((row) => row.status !== "active"),
    features: new Set(features),
    plan,
  };
}
