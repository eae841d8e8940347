-- Log-in by page (access, sections 5.2 and 5.3): browser sessions, authorization codes, device codes, consents.

-- `stage`: `password` and `factor` wait for the next step of one log-in; only `full` is a session. The cookie's value,
-- and with it the digest, is a new one after each step.
create table access.session (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  digest bytea not null unique,
  user_id text not null,
  stage text not null check (stage in ('password', 'factor', 'full')),
  mfa boolean not null default false,
  address text not null,
  user_agent text,
  -- The log-in was complete; of an unfinished one, the last step.
  auth_time timestamptz not null,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  -- Instants of wrong device codes, the youngest few.
  wrong_codes timestamptz[] not null default '{}',
  ended_at timestamptz,
  ended_reason text
);
create index session_list on access.session (tenant_id, created_at, id);
create index session_of_user on access.session (user_id) where ended_at is null;
create index session_age on access.session (last_used_at);
select kernel.wall('access.session');
grant select, insert, update, delete on access.session to demarc_system;

-- The session that a grant was opened in. A grant without refresh tokens ends with it.
alter table access."grant" add column session_id text;
create index grant_session on access."grant" (session_id) where ended_at is null;

-- Once used, a code stays for a while with the grant it became, because a second use ends that.
create table access.authorization_code (
  tenant_id text not null references access.tenant (id),
  digest bytea not null primary key,
  client_id text not null,
  user_id text not null,
  session_id text not null,
  redirect_uri text not null,
  code_challenge text not null,
  scopes text[] not null,
  auth_time timestamptz not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  grant_id text
);
create index authorization_code_age on access.authorization_code (expires_at);
create index authorization_code_session on access.authorization_code (session_id);
select kernel.wall('access.authorization_code');
grant select, insert, update, delete on access.authorization_code to demarc_system;

-- A device's request belongs to nobody until a person decides on it.
create table access.device_code (
  tenant_id text references access.tenant (id),
  digest bytea not null primary key,
  user_code_digest bytea not null unique,
  client_id text not null,
  scopes text[] not null,
  address text not null,
  user_agent text,
  interval_seconds integer not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  polled_at timestamptz,
  state text not null default 'pending' check (state in ('pending', 'approved', 'denied')),
  user_id text,
  session_id text,
  auth_time timestamptz
);
create index device_code_age on access.device_code (expires_at);
select kernel.wall('access.device_code');
grant select, insert, update, delete on access.device_code to demarc_system;

-- What a person has let an application have: asked once per scope set.
create table access.consent (
  tenant_id text not null references access.tenant (id),
  user_id text not null,
  client_id text not null,
  scopes text[] not null,
  given_at timestamptz not null,
  primary key (tenant_id, user_id, client_id)
);
select kernel.wall('access.consent');
grant select on access.consent to demarc_system;
