-- Calls of a tenant per lane and local calendar day, drawn in blocks by each process (access, section 6).
create table access.day_count (
  tenant_id text not null,
  lane text not null,
  local_date date not null,
  count bigint not null,
  last_drawn bigint not null,
  resets_at timestamptz not null,
  primary key (tenant_id, lane, local_date)
);
select kernel.wall('access.day_count');
revoke insert, update, delete on access.day_count from demarc_server;
grant select, insert, update, delete on access.day_count to demarc_system;
