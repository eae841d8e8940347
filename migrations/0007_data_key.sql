-- Data keys of tenants, wrapped under a master key that the database never sees (access, section 9).
create table kernel.data_key (
  tenant_id text not null,
  id text not null primary key,
  purpose text not null check (purpose in ('seal', 'mac')),
  active boolean not null,
  master_kid text not null,
  wrapped bytea not null,
  seals_reserved bigint not null,
  created_at timestamptz not null
);
create unique index data_key_active on kernel.data_key (tenant_id, purpose) where active;
create index data_key_master on kernel.data_key (master_kid);
alter table kernel.data_key enable row level security;
alter table kernel.data_key force row level security;
create policy system on kernel.data_key to demarc_system using (true);
grant select, insert, update, delete on kernel.data_key to demarc_system;

-- A known text under each master key: shows at the start whether the key of that name is the right one.
create table kernel.master_key_check (kid text not null primary key, value bytea not null);
grant select, insert on kernel.master_key_check to demarc_system;
