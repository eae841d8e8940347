-- Folders, locations and watches (monitoring, section 2).

-- One number space for folders, locations and watches; rows are never deleted, so no number is ever used again.
create table monitoring.numeric_id (
  numeric_id integer not null primary key check (numeric_id > 0),
  tenant_id text not null,
  id text not null
);
select kernel.wall('monitoring.numeric_id');
revoke update, delete on monitoring.numeric_id from demarc_server;

create table monitoring.folder (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  numeric_id integer not null unique,
  name text not null,
  parent_id text references monitoring.folder (id),
  category text not null check (category in ('internalGroup', 'customer')),
  time_zone text not null,
  customer_reference text,
  reference text,
  description text,
  contact_user_id text,
  is_tenant_root boolean not null default false,
  -- Ids and names from the installation's first folder down to this one; kept true by every rename and move.
  path_ids text[] not null,
  path_names text[] not null,
  -- The customer reference that holds here: this folder's, else that of the nearest one above; and whose it is.
  effective_reference text,
  effective_reference_folder_id text,
  created_at timestamptz not null,
  created_by text not null,
  updated_at timestamptz not null,
  updated_by text not null,
  changed_at timestamptz not null,
  deleted_at timestamptz,
  deleted_by text
);
create unique index folder_tenant_root on monitoring.folder (tenant_id) where is_tenant_root and deleted_at is null;
create index folder_parent on monitoring.folder (parent_id, name);
create index folder_list on monitoring.folder (tenant_id, created_at, id);
create index folder_changed on monitoring.folder (tenant_id, changed_at, id);
create index folder_path on monitoring.folder using gin (path_ids);
create index folder_contact on monitoring.folder (contact_user_id) where contact_user_id is not null;
select kernel.wall('monitoring.folder');

create table monitoring.location (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  numeric_id integer not null unique,
  name text not null,
  folder_id text not null references monitoring.folder (id),
  time_zone text not null,
  reference text,
  description text,
  postal_address text,
  created_at timestamptz not null,
  created_by text not null,
  updated_at timestamptz not null,
  updated_by text not null,
  changed_at timestamptz not null,
  deleted_at timestamptz,
  deleted_by text
);
create unique index location_name on monitoring.location (tenant_id, folder_id, name) where deleted_at is null;
create index location_folder on monitoring.location (folder_id);
create index location_list on monitoring.location (tenant_id, created_at, id);
create index location_changed on monitoring.location (tenant_id, changed_at, id);
select kernel.wall('monitoring.location');

create table monitoring.watch (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  numeric_id integer not null unique,
  name text not null,
  location_id text not null references monitoring.location (id),
  description text,
  watch_type text not null,
  product_type text,
  reference text,
  customer_reference text,
  access_in_kbps integer not null,
  access_out_kbps integer not null,
  tier_in_kbps integer,
  tier_out_kbps integer,
  device_address text,
  -- What is no secret of the SNMP settings, and the secrets, sealed together.
  snmp jsonb,
  snmp_sealed text,
  interface_match text,
  interface_value text,
  interface_resolved jsonb,
  polling_minutes smallint not null,
  site_link boolean not null,
  dormant boolean not null,
  group_name text,
  status text not null default 'pending' check (status in ('pending', 'active', 'disabled')),
  test_state text not null default 'untested' check (test_state in ('untested', 'inProgress', 'successful', 'failed', 'interfaceIssue')),
  test_reason text,
  tested_at timestamptz,
  activated_at timestamptz,
  activated_by text,
  disabled_at timestamptz,
  created_at timestamptz not null,
  created_by text not null,
  updated_at timestamptz not null,
  updated_by text not null,
  changed_at timestamptz not null,
  deleted_at timestamptz,
  deleted_by text
);
create unique index watch_name on monitoring.watch (tenant_id, location_id, lower(name)) where deleted_at is null;
create index watch_location on monitoring.watch (location_id);
create index watch_list on monitoring.watch (tenant_id, created_at, id);
create index watch_changed on monitoring.watch (tenant_id, changed_at, id);
create index watch_by_name on monitoring.watch (tenant_id, lower(name));
create index watch_device on monitoring.watch (tenant_id, device_address);
create index watch_reference on monitoring.watch (tenant_id, reference);
create index watch_customer_reference on monitoring.watch (tenant_id, customer_reference) where customer_reference is not null;
create index watch_group on monitoring.watch (tenant_id, group_name) where group_name is not null;
create index watch_status on monitoring.watch (tenant_id, status, created_at, id);
select kernel.wall('monitoring.watch');

-- The last test of a watch and the interfaces that its device listed (monitoring, 4.5).
create table monitoring.watch_test (
  tenant_id text not null references access.tenant (id),
  watch_id text not null primary key references monitoring.watch (id),
  operation_id text,
  -- What the test was started on; a change of address, SNMP or interface meanwhile makes its result void.
  started_on bytea,
  former_state text,
  result jsonb,
  interfaces jsonb,
  truncated boolean not null default false
);
select kernel.wall('monitoring.watch_test');

-- For the purge of tombstones.
grant select, delete on monitoring.watch_test, monitoring.watch, monitoring.location, monitoring.folder to demarc_system;

-- Reports of reconciliations, kept 30 days for the principal that made them (monitoring, 4.3). No secrets.
create table monitoring.reconcile (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  created_by text not null,
  created_at timestamptz not null,
  summary jsonb not null,
  expires_at timestamptz not null
);
create index reconcile_age on monitoring.reconcile (expires_at);
select kernel.wall('monitoring.reconcile');
grant select, delete on monitoring.reconcile to demarc_system;

create table monitoring.reconcile_item (
  tenant_id text not null references access.tenant (id),
  reconcile_id text not null references monitoring.reconcile (id) on delete cascade,
  position integer not null,
  outcome text not null,
  applied text,
  item jsonb not null,
  primary key (reconcile_id, position)
);
create index reconcile_item_outcome on monitoring.reconcile_item (reconcile_id, outcome, position);
select kernel.wall('monitoring.reconcile_item');
grant select, delete on monitoring.reconcile_item to demarc_system;
