-- One line per call, a partition a day (access, section 8).
create table access.activity (
  tenant_id text not null,
  acting_tenant_id text not null,
  id text not null,
  at timestamptz not null,
  request_id text not null,
  actor jsonb,
  via jsonb,
  service text,
  version text,
  operation_id text,
  method text not null,
  route text,
  target jsonb not null,
  status smallint not null,
  code text,
  reason text,
  duration_ms real not null,
  address text not null,
  user_agent text,
  bytes_in bigint not null,
  bytes_out bigint not null,
  primary key (tenant_id, at, id)
) partition by range (at);
-- What comes before the first partition or after the last one made: nothing is ever refused for want of a partition.
create table access.activity_rest partition of access.activity default;
create index activity_at on access.activity (at, id);
create index activity_id on access.activity (id);
create index activity_acting on access.activity (acting_tenant_id, at) where acting_tenant_id <> tenant_id;

-- A call into a tenant below shows in both logs, so the wall admits a row by either tenant.
alter table access.activity enable row level security;
alter table access.activity force row level security;
create policy tenant_wall on access.activity for select to demarc_server using (exists (
  select from access.tenant_ancestor a
  where a.tenant_id in (activity.tenant_id, activity.acting_tenant_id) and a.ancestor_id = current_setting('demarc.tenant', true)));
create policy system on access.activity to demarc_system using (true);
grant select on access.activity to demarc_server;
grant select, insert on access.activity to demarc_system;

-- Makes the partitions of a day and the next ones, and drops those older than `keep_days`. Run as the owner: making
-- and dropping tables is not a right of the server's roles.
create function access.turn_activity(today date, keep_days integer) returns void
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  day date;
  old record;
begin
  for day in select generate_series(today, today + 3, interval '1 day')::date loop
    if to_regclass('access.activity_' || to_char(day, 'YYYYMMDD')) is null then
      begin
        execute format('create table access.activity_%s partition of access.activity for values from (%L) to (%L)',
          to_char(day, 'YYYYMMDD'), day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00');
      exception when check_violation then null; -- rows of that day already stand in the default partition
      end;
    end if;
  end loop;
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'access.activity'::regclass and c.relname ~ '^activity_\d{8}$' and substring(c.relname from 10) < to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('drop table access.%I', old.relname);
  end loop;
  delete from access.activity_rest where at < (today - keep_days);
end $$;
revoke all on function access.turn_activity(date, integer) from public;
grant execute on function access.turn_activity(date, integer) to demarc_system;

create index audit_list on access.audit (tenant_id, at, position);
