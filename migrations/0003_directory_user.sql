-- Org units and users: one table of people for every module (directory, part A).

create table directory.orgunit (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  external_id text not null,
  name text not null,
  parent_id text references directory.orgunit (id),
  is_current boolean not null default true,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (tenant_id, external_id)
);
create unique index orgunit_root on directory.orgunit (tenant_id) where parent_id is null;
select kernel.wall('directory.orgunit');
grant select, insert on directory.orgunit to demarc_system;

create table directory."user" (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  number integer not null,
  username text not null,
  -- fold(s) = NFC(lower(upper(NFC(s)))) of directory, A2, made by the server: no locale of a database has a say in it.
  username_key text not null,
  fullname text not null,
  email text not null,
  -- Lower-cased, the domain as A-label: two spellings of one address are one address.
  email_key text not null,
  default_orgunit_id text not null references directory.orgunit (id),
  user_type text not null default 'full' check (user_type in ('full', 'requester')),
  is_support_rep boolean not null default false,
  is_current boolean not null default true,
  not_current_reason text,
  log_in_method text not null default 'password' check (log_in_method in ('password', 'sso', 'none')),
  is_manager boolean not null default false,
  time_zone text,
  language text,
  date_format text not null default 'DD/MM/YYYY',
  expires_at timestamptz,
  source text not null default 'native',
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  deleted_at timestamptz,
  unique (tenant_id, number)
);
create unique index user_username on directory."user" (tenant_id, username_key) where deleted_at is null;
create unique index user_email on directory."user" (tenant_id, email_key) where deleted_at is null;
create index user_login_name on directory."user" (username_key) where deleted_at is null;
create index user_login_email on directory."user" (email_key) where deleted_at is null;
create index user_list on directory."user" (tenant_id, created_at, id);
create index user_changed on directory."user" (tenant_id, updated_at, id);
create index user_unit on directory."user" (default_orgunit_id) where deleted_at is null;
select kernel.wall('directory."user"');
grant select, insert on directory."user" to demarc_system;

-- The last number given to a user of a tenant. Its row is also what makes the creations of one tenant queue.
create table directory.user_number (
  tenant_id text not null primary key references access.tenant (id),
  last integer not null
);
select kernel.wall('directory.user_number');
