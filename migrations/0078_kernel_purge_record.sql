-- Nobody may remove an entry of the audit trail, its seal or a signed head (access, section 8); but what a tenant had goes
-- with it (section 1). So demarc_system may not delete there, and a function does, of tenants that are being deleted alone.
revoke delete on access.audit, access.audit_seal, access.audit_head from demarc_system;
create policy deleting on access.tenant for select to current_user using (status = 'deleting');
create policy purged on access.audit to current_user
  using (exists (select from access.tenant t where t.id = audit.tenant_id and t.status = 'deleting'));
create policy purged on access.audit_seal to current_user
  using (exists (select from access.tenant t where t.id = audit_seal.tenant_id and t.status = 'deleting'));
create policy purged on access.audit_head to current_user
  using (exists (select from access.tenant t where t.id = audit_head.tenant_id and t.status = 'deleting'));

-- Deletes up to `most` rows of a tenant from one of these tables; returns how many.
create function kernel.purge_record(record regclass, of_tenant text, most integer) returns integer
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  removed integer;
begin
  if record <> all (array['access.audit', 'access.audit_seal', 'access.audit_head']::regclass[]) then
    raise exception '% is no table of the record.', record;
  end if;
  if not exists (select from access.tenant t where t.id = of_tenant and t.status = 'deleting') then return 0; end if;
  execute format('delete from %1$s where ctid = any (array(select ctid from %1$s where tenant_id = $1 limit $2))', record)
    using of_tenant, most;
  get diagnostics removed = row_count;
  return removed;
end $$;
revoke all on function kernel.purge_record(regclass, text, integer) from public;
grant execute on function kernel.purge_record(regclass, text, integer) to demarc_system;
