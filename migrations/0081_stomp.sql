-- STOMP (notifications, part B): sessions, where durable subscriptions stand, and queues.

create schema if not exists notifications;
grant usage on schema notifications to demarc_server, demarc_system;

-- Sessions that are open, whatever process holds them. A row that is deleted ends its session.
create table notifications.stomp_session (
  tenant_id text not null,
  id text not null primary key,
  principal_id text not null,
  principal_kind text not null,
  principal_name text not null,
  process_id text not null,
  address text not null,
  stomp_version text not null,
  label text not null,
  connected_at timestamptz not null,
  expires_at timestamptz,
  last_seen_at timestamptz not null
);
create index stomp_session_principal on notifications.stomp_session (tenant_id, principal_id);
create index stomp_session_process on notifications.stomp_session (process_id);
select kernel.wall('notifications.stomp_session');
grant select, update, delete on notifications.stomp_session to demarc_system;

-- Everything up to `position` is settled, and above it `settled_above`; up to `delivered_to` the client may have seen
-- everything. `warned_at`: it was told that the subscription is about to expire.
create table notifications.durable (
  tenant_id text not null,
  id text not null primary key,
  principal_id text not null,
  name text not null,
  destination text not null,
  -- The acting tenant, types and whether those below are included: what `durable_differs` goes by.
  filters jsonb not null,
  epoch integer not null,
  position bigint not null,
  day integer not null,
  delivered_to bigint not null,
  settled_above bigint[] not null default '{}',
  session_id text,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  warned_at timestamptz,
  unique (tenant_id, principal_id, name)
);
create index durable_session on notifications.durable (session_id) where session_id is not null;
select kernel.wall('notifications.durable');
grant select, update, delete on notifications.durable to demarc_system;

create table notifications.durable_parked (
  tenant_id text not null,
  durable_id text not null references notifications.durable (id) on delete cascade,
  position bigint not null,
  parked_at timestamptz not null,
  primary key (durable_id, position)
);
select kernel.wall('notifications.durable_parked');
grant select, delete on notifications.durable_parked to demarc_system;

create table notifications.queue (
  tenant_id text not null,
  id text not null primary key,
  name text not null,
  types text[] not null,
  include_below boolean not null,
  -- Up to here the log was looked through for items.
  position bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  unique (tenant_id, name)
);
select kernel.wall('notifications.queue');
grant select, update on notifications.queue to demarc_system;

create table notifications.queue_item (
  tenant_id text not null,
  queue_id text not null references notifications.queue (id) on delete cascade,
  position bigint not null,
  state text not null default 'ready' check (state in ('ready', 'taken', 'parked')),
  session_id text,
  -- Who refused it last: others come first.
  refused_by text,
  deliveries integer not null default 0,
  primary key (queue_id, position)
);
create index queue_item_ready on notifications.queue_item (queue_id, position) where state = 'ready';
create index queue_item_session on notifications.queue_item (session_id) where session_id is not null;
select kernel.wall('notifications.queue_item');
grant select, insert, update, delete on notifications.queue_item to demarc_system;

-- Who consumes a queue now, in all processes.
create table notifications.queue_consumer (
  tenant_id text not null,
  queue_id text not null references notifications.queue (id) on delete cascade,
  session_id text not null,
  subscription integer not null,
  primary key (queue_id, session_id, subscription)
);
create index queue_consumer_session on notifications.queue_consumer (session_id);
select kernel.wall('notifications.queue_consumer');
grant select, delete on notifications.queue_consumer to demarc_system;

-- Gives back what sessions that are no more still hold: those of processes that died, after 30 s. Returns the queues that
-- have items again.
create function notifications.release_sessions(at timestamptz, out queues text[]) language plpgsql as $$
begin
  delete from notifications.stomp_session s where not exists (
    select from kernel.process p where p.id = s.process_id and p.heartbeat_at > clock_timestamp() - interval '30 seconds');
  delete from notifications.queue_consumer c where not exists (select from notifications.stomp_session s where s.id = c.session_id);
  update notifications.durable d set session_id = null, last_used_at = at
  where session_id is not null and not exists (select from notifications.stomp_session s where s.id = d.session_id);
  with back as (
    update notifications.queue_item i set state = 'ready', session_id = null
    where state = 'taken' and not exists (select from notifications.stomp_session s where s.id = i.session_id)
    returning queue_id
  )
  select coalesce(array_agg(distinct queue_id), '{}') into queues from back;
end $$;
revoke all on function notifications.release_sessions(timestamptz) from public;
grant execute on function notifications.release_sessions(timestamptz) to demarc_system;
