-- The numbered event log (notifications, part A): news leave the outbox and get their numbers here.

alter table kernel.outbox add column event_id text;
-- What was waiting when this came: its event never had another id.
update kernel.outbox set event_id = 'evt_' || lpad(to_hex(id), 26, '0'),
  data = data || jsonb_build_object('url', regexp_replace(data->>'url', '^/v[0-9]+', ''));
alter table kernel.outbox alter column event_id set not null;

create table kernel.event (
  tenant_id text not null,
  position bigint not null,
  id text not null,
  sequence bigint not null,
  type text not null,
  subject text not null,
  occurred_at timestamptz not null,
  logged_at timestamptz not null,
  data jsonb not null,
  owner_id text,
  primary key (tenant_id, position, logged_at)
) partition by range (logged_at);
-- What comes before the first partition or after the last one made: nothing is ever refused for want of a partition.
create table kernel.event_rest partition of kernel.event default;
create index event_position on kernel.event (position);
create index event_id on kernel.event (id);
create index event_subject on kernel.event (tenant_id, subject, position);
select kernel.wall('kernel.event');
-- The log is written by the numbering alone; an erased person's data is the one thing that a call may take out of it.
revoke insert, update, delete on kernel.event from demarc_server;
grant update (data) on kernel.event to demarc_server;
grant select, insert on kernel.event to demarc_system;

-- One row. A position is never given twice in one epoch. `identity` names the database that the epoch was begun in: a
-- restored copy has another one, and so begins another epoch.
create table kernel.log_state (
  one boolean primary key default true check (one),
  epoch integer not null,
  identity text not null default '',
  head_position bigint not null default 0,
  head_at timestamptz not null default '1970-01-01 00:00+00',
  oldest_position bigint not null default 1,
  -- What was logged before this instant is gone, if anything is.
  kept_from timestamptz not null default '1970-01-01 00:00+00',
  -- Seals cursors, so that a changed one, and one of another tenant, is told apart from an old one.
  cursor_key bytea not null
);
insert into kernel.log_state (epoch, cursor_key)
values (1 + floor(random() * 2000000000), decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
grant select (epoch, head_position, head_at, oldest_position, kept_from) on kernel.log_state to demarc_server;
grant select, update on kernel.log_state to demarc_system;

-- The last sequence of each tenant.
create table kernel.log_sequence (tenant_id text primary key, last bigint not null);
select kernel.wall('kernel.log_sequence');
revoke insert, update, delete on kernel.log_sequence from demarc_server;
grant select, insert, update on kernel.log_sequence to demarc_system;

-- Moves up to `most` committed news into the log, in outbox order, and numbers them. One caller at a time; who comes in
-- between waits. It is one statement of its caller's, so that a caller that dies in the middle holds nobody up.
-- The rows of one resource come in the order of its changes: a change draws its outbox number while it holds the row.
create function kernel.log_news(at timestamptz, most integer, out moved integer, out head bigint) language plpgsql as $$
declare
  state record;
begin
  moved := 0;
  if not exists (select from kernel.outbox) then
    select head_position into head from kernel.log_state;
    return;
  end if;
  perform pg_advisory_xact_lock(7301946080);
  select * into state from kernel.log_state for update;
  with taken as (
    delete from kernel.outbox o
    using (select tenant_id, id from kernel.outbox order by id limit most) as next
    where o.tenant_id = next.tenant_id and o.id = next.id
    returning o.*
  ), ends as (
    insert into kernel.log_sequence as s (tenant_id, last)
    select tenant_id, count(*) from taken group by tenant_id
    on conflict (tenant_id) do update set last = s.last + excluded.last
    returning tenant_id, last
  )
  insert into kernel.event (tenant_id, position, id, sequence, type, subject, occurred_at, logged_at, data, owner_id)
  select t.tenant_id, state.head_position + row_number() over (order by t.id), t.event_id,
    e.last - count(*) over (partition by t.tenant_id) + row_number() over (partition by t.tenant_id order by t.id),
    t.type, t.subject, t.occurred_at, greatest(at, state.head_at), t.data, t.owner_id
  from taken t join ends e on e.tenant_id = t.tenant_id;
  get diagnostics moved = row_count;
  head := state.head_position + moved;
  if moved > 0 then
    update kernel.log_state set head_position = head, head_at = greatest(at, head_at);
    perform pg_notify('demarc_event', head::text);
  end if;
end $$;
revoke all on function kernel.log_news(timestamptz, integer) from public;
grant execute on function kernel.log_news(timestamptz, integer) to demarc_system;

-- Begins a new epoch where this database is not the one that the log was written in: after a restore, places that were
-- given out since the backup name events that are no more.
create function kernel.begin_epoch() returns void language plpgsql as $$
declare
  here text := (select system_identifier from pg_control_system()) || '/' || (select timeline_id from pg_control_checkpoint())
    || '/' || (select oid from pg_database where datname = current_database());
begin
  perform pg_advisory_xact_lock(7301946080);
  update kernel.log_state set identity = here,
    epoch = case when identity in ('', here) then epoch else 1 + floor(random() * 2000000000) end
  where identity <> here;
end $$;
revoke all on function kernel.begin_epoch() from public;
grant execute on function kernel.begin_epoch() to demarc_system;

-- Makes the partitions of a day and the next ones, and drops those older than `keep_days`, as access.turn_activity does.
create function kernel.turn_events(today date, keep_days integer) returns void
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  day date;
  old record;
  dropped bigint;
  last bigint := 0;
  cut timestamptz := (today - keep_days)::text || ' 00:00+00';
begin
  -- Not while news are being numbered: a partition is made beside the default one, which holds rows.
  perform pg_advisory_xact_lock(7301946080);
  for day in select generate_series(today, today + 3, interval '1 day')::date loop
    if to_regclass('kernel.event_' || to_char(day, 'YYYYMMDD')) is null then
      begin
        execute format('create table kernel.event_%s partition of kernel.event for values from (%L) to (%L)',
          to_char(day, 'YYYYMMDD'), day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00');
      exception when check_violation then null; -- events of that day already stand in the default partition
      end;
    end if;
  end loop;
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'kernel.event'::regclass and c.relname ~ '^event_\d{8}$' and substring(c.relname from 7) < to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('select max(position) from kernel.%I', old.relname) into dropped;
    last := greatest(last, dropped);
    execute format('drop table kernel.%I', old.relname);
  end loop;
  with gone as (
    delete from kernel.event_rest where logged_at < cut returning position
  )
  select max(position) into dropped from gone;
  update kernel.log_state set oldest_position = greatest(oldest_position, last + 1, dropped + 1), kept_from = greatest(kept_from, cut)
  where kept_from < cut or oldest_position <= greatest(last, dropped);
end $$;
revoke all on function kernel.turn_events(date, integer) from public;
grant execute on function kernel.turn_events(date, integer) to demarc_system;
