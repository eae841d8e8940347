-- Keys: what was told of their end and of foreign addresses.

-- The `expires_at` that the warning and the end were told of: a later date is told of anew.
alter table access.key add column warned_of timestamptz, add column expiry_told timestamptz;
create index key_expiry on access.key (expires_at) where expires_at is not null and deleted_at is null;

-- When the owner was last told that a key was shown from an address outside its list.
create table access.key_refusal (
  tenant_id text not null,
  key_id text not null references access.key (id),
  address text not null,
  told_at timestamptz not null,
  primary key (key_id, address)
);
create index key_refusal_age on access.key_refusal (told_at);
select kernel.wall('access.key_refusal');
grant select, insert, update, delete on access.key_refusal to demarc_system;
