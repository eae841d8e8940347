-- Tenants, plans, roles, keys, clients, log-ins, and the records of what was called and changed.

create table access.tenant (
  id text primary key,
  tenant_id text not null generated always as (id) stored,
  parent_id text references access.tenant (id),
  kind text not null check (kind in ('provider', 'partner', 'customer')),
  name text not null,
  code text not null unique,
  reference text,
  time_zone text not null,
  plan_id text,
  features jsonb not null,
  limits jsonb not null,
  auth_policy jsonb not null,
  status text not null default 'active' check (status in ('active', 'suspended', 'deleting')),
  status_reason text,
  purge_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1
);
create unique index tenant_name on access.tenant (parent_id, lower(normalize(name, NFC)));
create unique index tenant_reference on access.tenant (parent_id, reference) where reference is not null;
create unique index tenant_one_root on access.tenant ((true)) where parent_id is null;

create function access.tenant_grows() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth) values (new.id, new.id, 0);
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth)
    select new.id, a.ancestor_id, a.depth + 1 from access.tenant_ancestor a where a.tenant_id = new.parent_id;
  return null;
end $$;
-- Before the row itself is checked against the wall: a new tenant is below its parent from the first moment.
create function access.tenant_moves() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  if new.parent_id is not distinct from old.parent_id then return null; end if;
  delete from access.tenant_ancestor a
    using access.tenant_ancestor below
    where below.ancestor_id = new.id and a.tenant_id = below.tenant_id
      and a.ancestor_id in (select up.ancestor_id from access.tenant_ancestor up where up.tenant_id = new.id and up.depth > 0);
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth)
    select below.tenant_id, up.ancestor_id, below.depth + up.depth + 1
    from access.tenant_ancestor below, access.tenant_ancestor up
    where below.ancestor_id = new.id and up.tenant_id = new.parent_id;
  return null;
end $$;
create trigger tenant_grows after insert on access.tenant for each row execute function access.tenant_grows();
create trigger tenant_moves after update of parent_id on access.tenant for each row execute function access.tenant_moves();

alter table access.tenant enable row level security;
alter table access.tenant force row level security;
create policy tenant_wall on access.tenant to demarc_server
  using (exists (select from access.tenant_ancestor a where a.tenant_id = id and a.ancestor_id = current_setting('demarc.tenant', true)))
  -- A new row has no closure yet when it is checked: its parent decides.
  with check (exists (select from access.tenant_ancestor a where a.tenant_id in (id, parent_id) and a.ancestor_id = current_setting('demarc.tenant', true)));
create policy system on access.tenant to demarc_system using (true);
grant select, insert, update, delete on access.tenant to demarc_server;
grant select, insert, update on access.tenant to demarc_system;

create table access.plan (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  name text not null,
  lanes jsonb not null,
  built_in boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1
);
create unique index plan_name on access.plan (tenant_id, lower(normalize(name, NFC)));
create index tenant_plan on access.tenant (plan_id) where plan_id is not null;
select kernel.wall('access.plan');
grant select, insert on access.plan to demarc_system;

-- A tenant and all above it, itself first, with what is inherited. The server's role sees nothing above the tenant it
-- acts in, so the function reads as demarc_system; it answers for tenants that the caller's transaction may see.
create function access.lineage(of_tenant text) returns jsonb
  language sql stable security definer set search_path = pg_catalog as $$
  select jsonb_agg(jsonb_build_object('id', t.id, 'features', t.features, 'plan',
      (select jsonb_build_object('id', p.id, 'tenantId', p.tenant_id, 'name', p.name, 'lanes', p.lanes)
       from access.plan p where p.id = t.plan_id)) order by a.depth)
  from access.tenant_ancestor a join access.tenant t on t.id = a.ancestor_id
  where a.tenant_id = of_tenant and exists (select from access.tenant_ancestor seen
    where seen.tenant_id = of_tenant and seen.ancestor_id = current_setting('demarc.tenant', true))
$$;
revoke all on function access.lineage(text) from public;
grant execute on function access.lineage(text) to demarc_server;
grant create on schema access to demarc_system;
alter function access.lineage(text) owner to demarc_system;
revoke create on schema access from demarc_system;

-- Which quota news a day has had (access, section 6): a block given back and drawn again tells nothing twice.
create table access.quota_told (
  tenant_id text not null references access.tenant (id),
  lane text not null,
  level text not null check (level in ('warned', 'exhausted')),
  local_date date not null,
  primary key (tenant_id, lane, level, local_date)
);
select kernel.wall('access.quota_told');

-- Custom roles; the built-in ones are code (modules/access/roles.ts). `permissions` maps a name to allow or deny.
create table access.role (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  external_id text not null,
  name text not null,
  permissions jsonb not null,
  shared boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  unique (tenant_id, external_id)
);
select kernel.wall('access.role');
-- A shared role is used, not changed, in the tenants below its own.
create policy shared_from_above on access.role for select to demarc_server
  using (shared and exists (select from access.tenant_ancestor a
    where a.tenant_id = current_setting('demarc.tenant', true) and a.ancestor_id = role.tenant_id));
grant select on access.role to demarc_system;

create table access.assignment (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  principal_kind text not null check (principal_kind in ('user', 'client', 'key')),
  principal_id text not null,
  role_id text not null,
  within_kind text not null,
  within_id text not null,
  created_at timestamptz not null,
  created_by text not null,
  unique (tenant_id, principal_id, role_id, within_kind, within_id)
);
create index assignment_principal on access.assignment (principal_id);
create index assignment_within on access.assignment (within_id);
select kernel.wall('access.assignment');
grant select, insert on access.assignment to demarc_system;

create table access.key (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  kind text not null check (kind in ('standard', 'integration', 'personal', 'bound')),
  title text not null,
  description text,
  user_id text,
  responsible_user_id text,
  scopes text[] not null,
  read_only boolean not null,
  expires_at timestamptz,
  allowed_addresses text[] not null,
  enabled boolean not null default true,
  disabled_reason text,
  bound jsonb,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  uses bigint not null default 0,
  last_used_at timestamptz,
  last_used_address text,
  deleted_at timestamptz
);
create unique index key_title on access.key (tenant_id, kind, coalesce(user_id, ''), lower(title))
  where deleted_at is null and kind <> 'bound';
create index key_list on access.key (tenant_id, created_at, id);
create index key_user on access.key (user_id) where user_id is not null;
select kernel.wall('access.key');
grant select, insert, update on access.key to demarc_system;

create table access.key_secret (
  tenant_id text not null,
  key_id text not null references access.key (id),
  digest bytea not null primary key,
  hint text not null,
  created_at timestamptz not null,
  expires_at timestamptz
);
create index key_secret_key on access.key_secret (key_id);
select kernel.wall('access.key_secret');
grant select, insert on access.key_secret to demarc_system;

create table access.client (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  kind text not null check (kind in ('service', 'application')),
  name text not null,
  scopes text[] not null,
  redirect_uris text[] not null,
  public boolean not null,
  access_token_seconds integer not null,
  enabled boolean not null default true,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  last_used_at timestamptz,
  deleted_at timestamptz
);
create index client_list on access.client (tenant_id, created_at, id);
select kernel.wall('access.client');
grant select, insert, update on access.client to demarc_system;

create table access.client_secret (
  tenant_id text not null,
  client_id text not null references access.client (id),
  digest bytea not null primary key,
  hint text not null,
  created_at timestamptz not null,
  expires_at timestamptz
);
create index client_secret_client on access.client_secret (client_id);
select kernel.wall('access.client_secret');
grant select, insert on access.client_secret to demarc_system;

-- What `access` keeps of a user: the record itself is directory.user.
create table access.login (
  tenant_id text not null references access.tenant (id),
  user_id text not null primary key,
  password text,
  password_set_by text,
  password_changed_at timestamptz,
  must_change boolean not null default false,
  mfa_enabled boolean not null default false,
  blocked_at timestamptz,
  known_addresses jsonb not null default '{}'
);
select kernel.wall('access.login');
grant select, insert, update on access.login to demarc_system;

create table access.audit (
  tenant_id text not null,
  position bigint generated always as identity,
  id text not null,
  seq bigint,
  at timestamptz not null,
  type text not null,
  action text not null,
  item_kind text not null,
  item_id text not null,
  item_name text not null,
  actor jsonb not null,
  on_behalf_of jsonb,
  via jsonb,
  request_id text,
  changes jsonb not null,
  comment text,
  search text not null,
  prev_hash bytea,
  hash bytea,
  primary key (tenant_id, position)
);
create unique index audit_id on access.audit (tenant_id, id);
create index audit_item on access.audit (tenant_id, item_id);
select kernel.wall('access.audit');
revoke update, delete on access.audit from demarc_server;
grant select, insert on access.audit to demarc_system;
