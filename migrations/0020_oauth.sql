-- OAuth (access, section 5): the keys that sign access tokens, grants with their refresh tokens, and the deny-list.

-- Belongs to the installation, so to the root tenant. The life of a key is written down ahead: it is published at
-- `published_at`, signs from `active_from` until its successor does (`retired_from`), and verifies until `gone_at`.
create table access.signing_key (
  tenant_id text not null references access.tenant (id),
  kid text not null primary key,
  algorithm text not null check (algorithm in ('RS256', 'ES256')),
  public_jwk jsonb not null,
  private_sealed text not null,
  published_at timestamptz not null,
  active_from timestamptz not null,
  retired_from timestamptz,
  gone_at timestamptz
);
create index signing_key_active on access.signing_key (active_from);
select kernel.wall('access.signing_key');
grant select, insert, update, delete on access.signing_key to demarc_system;

-- What a person allowed a client. A new refresh token is made at each use; all of them end with the grant.
create table access."grant" (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  user_id text not null,
  client_id text not null,
  scopes text[] not null,
  auth_time timestamptz not null,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  ended_reason text
);
create index grant_list on access."grant" (tenant_id, created_at, id);
create index grant_user on access."grant" (user_id) where ended_at is null;
create index grant_client on access."grant" (client_id) where ended_at is null;
create index grant_age on access."grant" (expires_at);
select kernel.wall('access."grant"');
grant select, insert, update, delete on access."grant" to demarc_system;

create table access.refresh_token (
  tenant_id text not null,
  digest bytea not null primary key,
  grant_id text not null references access."grant" (id) on delete cascade,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  consumed_at timestamptz
);
create index refresh_token_grant on access.refresh_token (grant_id);
select kernel.wall('access.refresh_token');
grant select, insert, update, delete on access.refresh_token to demarc_system;

-- Access tokens that are over before their time: one (jti), all of a grant (gid), or all that a user, a client or a
-- tenant was given before an instant. A row may go when the last token it hits has expired.
create table access.token_denial (
  tenant_id text not null,
  kind text not null check (kind in ('jti', 'gid', 'user', 'client', 'tenant')),
  value text not null,
  issued_before timestamptz,
  until timestamptz not null,
  primary key (kind, value)
);
create index token_denial_until on access.token_denial (until);
select kernel.wall('access.token_denial');
grant select, insert, update, delete on access.token_denial to demarc_system;
