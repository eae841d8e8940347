-- Who still calls a version, and what it was told of the version's end (notifications, part E). The activity log may be
-- kept for less than the 90 days that count.
create table kernel.version_use (
  tenant_id text not null,
  version text not null,
  used_at timestamptz not null,
  primary key (tenant_id, version)
);
create index version_use_used_at on kernel.version_use (used_at);
select kernel.wall('kernel.version_use');
revoke insert, update, delete on kernel.version_use from demarc_server;
grant select, insert, update, delete on kernel.version_use to demarc_system;

-- `notice`: released, deprecated, retired, or the days before the sunset. Once each.
create table kernel.version_notice (
  tenant_id text not null,
  version text not null,
  notice text not null,
  told_at timestamptz not null,
  primary key (tenant_id, version, notice)
);
select kernel.wall('kernel.version_notice');
revoke update, delete on kernel.version_notice from demarc_server;
grant select on kernel.version_notice to demarc_system;
