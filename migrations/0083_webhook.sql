-- Webhooks (notifications, part C).
create schema if not exists notifications;
grant usage on schema notifications to demarc_server, demarc_system;

create table notifications.webhook (
  tenant_id text not null,
  id text not null,
  url text not null,
  description text,
  types text[] not null,
  include_below boolean not null,
  api_version text not null,
  status text not null check (status in ('active', 'paused', 'disabled')),
  disabled_reason text,
  signatures text[] not null,
  -- Names in the clear, values sealed: a JSON object.
  header_names text[] not null,
  headers_sealed text,
  rate_per_second double precision,
  -- Whose rights count: {kind, id, name, tenantId, scopes}.
  owner jsonb not null,
  -- Where it was disabled: {epoch, position, day}.
  missed_from jsonb,
  -- It gets what comes after this position of the log.
  from_position bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  unique (id)
);
select kernel.wall('notifications.webhook');
grant select, update (headers_sealed) on notifications.webhook to demarc_system;

create table notifications.webhook_secret (
  tenant_id text not null,
  id text not null,
  webhook_id text not null,
  kind text not null check (kind in ('v1', 'v1a')),
  sealed text not null,
  -- The last four characters of a secret, the whole of a public key.
  shown text not null,
  created_at timestamptz not null,
  ends_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, webhook_id) references notifications.webhook (tenant_id, id) on delete cascade
);
create index webhook_secret_of on notifications.webhook_secret (webhook_id);
select kernel.wall('notifications.webhook_secret');
grant select, update (sealed), delete on notifications.webhook_secret to demarc_system;

-- How far the log has been made into deliveries. One row.
create table notifications.webhook_place (
  one boolean primary key default true check (one),
  position bigint not null,
  logged_at timestamptz not null
);
insert into notifications.webhook_place (position, logged_at) select head_position, head_at from kernel.log_state;
grant select, update on notifications.webhook_place to demarc_system;
grant select on notifications.webhook_place to demarc_server;
