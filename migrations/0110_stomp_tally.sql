-- How many STOMP sessions each process has of each tenant and principal: what the limits are judged by, so that opening
-- a session costs the same however many there are. Kept by triggers, hence in the transactions of the sessions.

create table notifications.stomp_tally (
  tenant_id text not null,
  -- Empty: all principals of the tenant.
  principal_id text not null,
  process_id text not null,
  sessions integer not null,
  primary key (tenant_id, principal_id, process_id)
);
select kernel.wall('notifications.stomp_tally');
grant select, insert, update, delete on notifications.stomp_tally to demarc_system;

-- Rows are taken in one order, so that transactions of several tenants cannot wait for each other in a circle.
create function notifications.tally_opened() returns trigger language plpgsql as $$
begin
  insert into notifications.stomp_tally as t (tenant_id, principal_id, process_id, sessions)
  select s.tenant_id, of.principal_id, s.process_id, count(*)
  from opened s cross join lateral (values (''), (s.principal_id)) of (principal_id)
  group by 1, 2, 3 order by 1, 2, 3
  on conflict (tenant_id, principal_id, process_id) do update set sessions = t.sessions + excluded.sessions;
  return null;
end $$;

create function notifications.tally_ended() returns trigger language plpgsql as $$
declare
  fewer record;
begin
  for fewer in
    select s.tenant_id, of.principal_id, s.process_id, count(*)::int as sessions
    from ended s cross join lateral (values (''), (s.principal_id)) of (principal_id)
    group by 1, 2, 3 order by 1, 2, 3
  loop
    update notifications.stomp_tally t set sessions = t.sessions - fewer.sessions
    where t.tenant_id = fewer.tenant_id and t.principal_id = fewer.principal_id and t.process_id = fewer.process_id;
    delete from notifications.stomp_tally t where t.sessions <= 0
      and t.tenant_id = fewer.tenant_id and t.principal_id = fewer.principal_id and t.process_id = fewer.process_id;
  end loop;
  return null;
end $$;

insert into notifications.stomp_tally (tenant_id, principal_id, process_id, sessions)
select s.tenant_id, of.principal_id, s.process_id, count(*)
from notifications.stomp_session s cross join lateral (values (''), (s.principal_id)) of (principal_id)
group by 1, 2, 3;

create trigger tally_opened after insert on notifications.stomp_session
  referencing new table as opened for each statement execute function notifications.tally_opened();
create trigger tally_ended after delete on notifications.stomp_session
  referencing old table as ended for each statement execute function notifications.tally_ended();

-- Writes down those of the sessions of one tenant for which there is room, in the order given, and says which. Those of a
-- process that died are no burden to the clients that come back. The lock is a statement of its own before the counting,
-- which then sees what others wrote down before.
create function notifications.enter_sessions(tenant text, process text, wanted jsonb, most_principal integer, most_tenant integer)
returns table (entered text) language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('stomp ' || tenant, 0));
  return query
  with asking as (
    select w.*, row_number() over (partition by w.principal_id order by w.place) as nth_own
    from rows from (jsonb_to_recordset(wanted) as (id text, principal_id text, principal_kind text, principal_name text,
      address text, stomp_version text, label text, connected_at timestamptz, expires_at timestamptz)) with ordinality
      as w (id, principal_id, principal_kind, principal_name, address, stomp_version, label, connected_at, expires_at, place)
  ), had as (
    select t.principal_id, sum(t.sessions) as sessions
    from notifications.stomp_tally t join kernel.process p on p.id = t.process_id and p.heartbeat_at > clock_timestamp() - interval '3 seconds'
    where t.tenant_id = tenant and t.principal_id in (select '' union all select a.principal_id from asking a)
    group by 1
  ), own as (
    select a.*, row_number() over (order by a.place) as nth_all
    from asking a left join had h on h.principal_id = a.principal_id
    where coalesce(h.sessions, 0) + a.nth_own <= most_principal
  )
  insert into notifications.stomp_session (tenant_id, id, principal_id, principal_kind, principal_name, process_id, address,
    stomp_version, label, connected_at, expires_at, last_seen_at)
  select tenant, o.id, o.principal_id, o.principal_kind, o.principal_name, process, o.address, o.stomp_version, o.label,
    o.connected_at, o.expires_at, o.connected_at
  from own o
  where coalesce((select h.sessions from had h where h.principal_id = ''), 0) + o.nth_all <= most_tenant
  returning id;
end $$;
revoke all on function notifications.enter_sessions(text, text, jsonb, integer, integer) from public;
grant execute on function notifications.enter_sessions(text, text, jsonb, integer, integer) to demarc_server;
