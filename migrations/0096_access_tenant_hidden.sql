-- A tenant whose purge has begun is out of everybody's sight (access, section 1): without its rows in the closure table no
-- call sees or writes anything of it, those under way included. Otherwise whoever may act in it could keep filling it.

-- Takes a tenant that is being deleted out of sight; the acting tenant must be at or above it.
create function access.hide_tenant(of_tenant text) returns void
  language sql security definer set search_path = pg_catalog as $$
  delete from access.tenant_ancestor a
  where a.tenant_id = of_tenant and exists (select from access.tenant t where t.id = of_tenant and t.status = 'deleting')
    and exists (select from access.tenant_ancestor seen
      where seen.tenant_id = of_tenant and seen.ancestor_id = current_setting('demarc.tenant', true))
$$;
-- Brings it back below its parent: to delete its row, or because the purge failed.
create function access.show_tenant(of_tenant text) returns void
  language sql security definer set search_path = pg_catalog as $$
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth)
  select t.id, t.id, 0 from access.tenant t where t.id = of_tenant and t.status = 'deleting' and exists (
    select from access.tenant_ancestor seen
    where seen.tenant_id = t.parent_id and seen.ancestor_id = current_setting('demarc.tenant', true))
  union all
  select t.id, up.ancestor_id, up.depth + 1
  from access.tenant t join access.tenant_ancestor up on up.tenant_id = t.parent_id
  where t.id = of_tenant and t.status = 'deleting' and exists (
    select from access.tenant_ancestor seen
    where seen.tenant_id = t.parent_id and seen.ancestor_id = current_setting('demarc.tenant', true))
  on conflict do nothing
$$;
-- How many tenants stand right below one and are out of sight.
create function access.hidden_below(of_tenant text) returns integer
  language sql stable security definer set search_path = pg_catalog as $$
  select count(*)::integer from access.tenant t where t.parent_id = of_tenant and t.status = 'deleting'
    and not exists (select from access.tenant_ancestor a where a.tenant_id = t.id)
$$;
revoke all on function access.hide_tenant(text), access.show_tenant(text), access.hidden_below(text) from public;
grant execute on function access.hide_tenant(text), access.show_tenant(text), access.hidden_below(text) to demarc_server;

-- The record goes with a tenant that nobody sees any more, also what is written of it when its own row is gone.
drop policy purged on access.audit;
drop policy purged on access.audit_seal;
drop policy purged on access.audit_head;
create policy purged on access.audit to current_user
  using (not exists (select from access.tenant_ancestor a where a.tenant_id = audit.tenant_id));
create policy purged on access.audit_seal to current_user
  using (not exists (select from access.tenant_ancestor a where a.tenant_id = audit_seal.tenant_id));
create policy purged on access.audit_head to current_user
  using (not exists (select from access.tenant_ancestor a where a.tenant_id = audit_head.tenant_id));
create or replace function kernel.purge_record(record regclass, of_tenant text, most integer) returns integer
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  removed integer;
begin
  if record <> all (array['access.audit', 'access.audit_seal', 'access.audit_head']::regclass[]) then
    raise exception '% is no table of the record.', record;
  end if;
  if exists (select from access.tenant_ancestor a where a.tenant_id = of_tenant) then return 0; end if;
  execute format('delete from %1$s where ctid = any (array(select ctid from %1$s where tenant_id = $1 limit $2))', record)
    using of_tenant, most;
  get diagnostics removed = row_count;
  return removed;
end $$;
