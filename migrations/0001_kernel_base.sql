-- Roles, the tenant wall, and the tables of the kernel itself.

do $$
begin
  if not exists (select from pg_roles where rolname = 'demarc_server') then create role demarc_server nologin; end if;
  if not exists (select from pg_roles where rolname = 'demarc_system') then create role demarc_system nologin; end if;
  execute format('grant demarc_server, demarc_system to %I', current_user);
exception when unique_violation or duplicate_object then null; -- another database of this cluster is being made right now
end $$;

create schema access;
create schema directory;
create schema monitoring;
grant usage on schema kernel, access, directory, monitoring to demarc_server, demarc_system;

-- Every tenant with each tenant above it, itself included (depth 0). Kept by the triggers of access.tenant alone.
create table access.tenant_ancestor (
  tenant_id text not null,
  ancestor_id text not null,
  depth smallint not null,
  primary key (tenant_id, ancestor_id)
);
create index tenant_ancestor_below on access.tenant_ancestor (ancestor_id, tenant_id);
alter table access.tenant_ancestor enable row level security;
-- Ids alone, so the whole tree may be seen from within any tenant: a role given in a tenant further down is looked up
-- by that tenant's own rows, a shared role by those above.
create policy tenant_wall on access.tenant_ancestor to demarc_server
  using (current_setting('demarc.tenant', true) <> '');
create policy system on access.tenant_ancestor to demarc_system using (true);
grant select on access.tenant_ancestor to demarc_server, demarc_system;

-- Puts a table behind the tenant wall (access, section 1): the server's role sees and writes rows of the acting tenant
-- and those below it, and nothing at all when no tenant is set. demarc_system gets only what is granted by name.
create function kernel.wall(walled regclass) returns void language plpgsql as $$
begin
  execute format('alter table %s enable row level security', walled);
  execute format('alter table %s force row level security', walled);
  execute format(
    'create policy tenant_wall on %1$s to demarc_server using (exists (select from access.tenant_ancestor a where a.tenant_id = %1$s.tenant_id and a.ancestor_id = current_setting(''demarc.tenant'', true)))',
    walled);
  execute format('create policy system on %s to demarc_system using (true)', walled);
  execute format('grant select, insert, update, delete on %s to demarc_server', walled);
end $$;

-- News of changes, written in the transaction of the change and numbered later (notifications, part A).
create table kernel.outbox (
  tenant_id text not null,
  id bigint generated always as identity,
  type text not null,
  subject text not null,
  occurred_at timestamptz not null,
  data jsonb not null,
  owner_id text,
  request_id text,
  correlation_id text,
  primary key (tenant_id, id)
);
create index outbox_order on kernel.outbox (id);
select kernel.wall('kernel.outbox');
grant select, delete on kernel.outbox to demarc_system;

-- One row per completed idempotent call (access, section 7).
create table kernel.idempotency (
  tenant_id text not null,
  record_key bytea not null,
  actor_id text not null,
  fingerprint bytea not null,
  status smallint not null,
  headers jsonb not null,
  body text,
  sealed_body text,
  completed_at timestamptz not null,
  primary key (tenant_id, record_key)
);
create index idempotency_age on kernel.idempotency (completed_at);
select kernel.wall('kernel.idempotency');
grant select, update, delete on kernel.idempotency to demarc_system;

-- Work that outlasts its request (notifications, part D).
create table kernel.operation (
  tenant_id text not null,
  id text not null,
  kind text not null,
  status text not null check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
  -- Who started it, with the scopes of the credential used: {kind, id, name, tenantId, scopes}.
  owner_id text not null,
  owner jsonb not null,
  subject text,
  exclusive boolean not null,
  input jsonb not null,
  progress jsonb not null default '{"done": 0, "total": null, "note": null}',
  result jsonb,
  error jsonb,
  correlation_id text,
  request_id text,
  cancel_asked boolean not null default false,
  tries smallint not null default 0,
  lease_holder text,
  lease_until timestamptz,
  not_before timestamptz,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  unique (id)
);
create index operation_due on kernel.operation (created_at) where status in ('queued', 'running');
create index operation_list on kernel.operation (tenant_id, created_at, id);
create unique index operation_exclusive on kernel.operation (tenant_id, kind, subject)
  where status in ('queued', 'running') and exclusive;
select kernel.wall('kernel.operation');
grant select, update, delete on kernel.operation to demarc_system;
grant insert on kernel.outbox to demarc_system;

-- Bumped by every change that takes something away; processes compare it with what their caches were built on.
create table kernel.generation (one boolean primary key default true check (one), value bigint not null);
insert into kernel.generation (value) values (1);
grant select, update on kernel.generation to demarc_server, demarc_system;

-- Whether an empty database has been filled: a first start that was cut short is made anew.
create table kernel.first_start (one boolean primary key default true check (one), state text not null check (state in ('begun', 'done')));
