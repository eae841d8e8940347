-- The chain over the audit trail (access, section 8). Entries are inserted and never touched again: what the sealer adds
-- stands in a table of its own, so that nobody needs the right to change an entry.

-- The transaction that wrote an entry tells when nothing older can still appear.
alter table access.audit drop column seq, drop column prev_hash, drop column hash,
  add column txid xid8 not null default pg_current_xact_id();
create index audit_by_transaction on access.audit (txid, position);

create table access.audit_seal (
  tenant_id text not null,
  seq bigint not null,
  position bigint not null,
  prev_hash bytea not null,
  hash bytea not null,
  primary key (tenant_id, seq)
);
create unique index audit_seal_entry on access.audit_seal (tenant_id, position);
select kernel.wall('access.audit_seal');
revoke insert, update, delete on access.audit_seal from demarc_server;
grant select, insert on access.audit_seal to demarc_system;

-- Every entry of a transaction before this one is sealed.
create table access.audit_sealer (one boolean primary key default true check (one), settled xid8 not null);
insert into access.audit_sealer (settled) values ('0');
grant select, update on access.audit_sealer to demarc_system;

-- Signed ends of chains. `starts`: the entries up to this one are past their keeping, the chain begins behind it.
create table access.audit_head (
  tenant_id text not null,
  position bigint generated always as identity,
  seq bigint not null,
  hash bytea not null,
  at timestamptz not null,
  kid text not null,
  signature text not null,
  starts boolean not null default false,
  primary key (tenant_id, position)
);
create index audit_head_list on access.audit_head (tenant_id, at, position);
create index audit_head_start on access.audit_head (tenant_id, seq) where starts;
select kernel.wall('access.audit_head');
revoke update, delete on access.audit_head from demarc_server;
grant select on access.audit_head to demarc_system;

-- What signs heads. Private halves are sealed; public ones stay for good, as heads must verify for years.
create table access.audit_key (
  tenant_id text not null references access.tenant (id),
  kid text not null primary key,
  public_jwk jsonb not null,
  private_sealed text not null,
  published_at timestamptz not null,
  active_from timestamptz not null
);
create index audit_key_active on access.audit_key (active_from);
select kernel.wall('access.audit_key');
revoke insert, update, delete on access.audit_key from demarc_server;
grant select, insert on access.audit_key to demarc_system;

-- The owner of the tables, whom the walls bind too, may remove what is older than any installation may ask to keep.
create policy kept on access.audit to current_user
  using (at < date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - interval '24 months');
create policy kept on access.audit_seal to current_user using (true);
create policy kept on access.audit_head to current_user using (true);

-- Removes entries up to a signed head that says so, the oldest first and not more than a batch; returns how many.
create function access.cut_audit(of_tenant text, upto bigint) returns bigint
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  removed bigint;
begin
  if not exists (select from access.audit_head h where h.tenant_id = of_tenant and h.seq = upto and h.starts) then
    raise exception 'The chain of % has no head at % to begin behind.', of_tenant, upto;
  end if;
  with old as (
    select s.position from access.audit_seal s where s.tenant_id = of_tenant and s.seq <= upto order by s.seq limit 5000
  ), entries as (
    delete from access.audit a using old where a.tenant_id = of_tenant and a.position = old.position
      -- Said again, for owners whom no policy binds.
      and a.at < date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - interval '24 months'
    returning a.position
  ), seals as (
    delete from access.audit_seal s using entries e where s.tenant_id = of_tenant and s.position = e.position
  )
  select count(*) into removed from entries;
  if removed = 0 then
    delete from access.audit_head h where h.tenant_id = of_tenant and h.seq < upto;
  end if;
  return removed;
end $$;
revoke all on function access.cut_audit(text, bigint) from public;
grant execute on function access.cut_audit(text, bigint) to demarc_system;
