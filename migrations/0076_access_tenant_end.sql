-- Tenants move and end (access, section 1).

-- The closure table is right whatever runs beside a move: who makes a tenant holds the tree shared, who moves one holds
-- it alone, and each statement after the lock sees what the former holder committed.
create function access.lock_tree(alone boolean) returns void language plpgsql set search_path = pg_catalog as $$
begin
  if alone then perform pg_advisory_xact_lock(7301946010); else perform pg_advisory_xact_lock_shared(7301946010); end if;
end $$;

create or replace function access.tenant_grows() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform access.lock_tree(false);
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth) values (new.id, new.id, 0);
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth)
    select new.id, a.ancestor_id, a.depth + 1 from access.tenant_ancestor a where a.tenant_id = new.parent_id;
  return null;
end $$;
create or replace function access.tenant_moves() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  if new.parent_id is not distinct from old.parent_id then return null; end if;
  perform access.lock_tree(true);
  -- A cycle would cut its tenants off from the root, and from everybody's sight.
  if exists (select from access.tenant_ancestor a where a.tenant_id = new.parent_id and a.ancestor_id = new.id) then
    raise exception 'The tenant % would stand below itself.', new.id using errcode = 'check_violation', constraint = 'tenant_cycle';
  end if;
  delete from access.tenant_ancestor a
    using access.tenant_ancestor below
    where below.ancestor_id = new.id and a.tenant_id = below.tenant_id
      and a.ancestor_id in (select up.ancestor_id from access.tenant_ancestor up where up.tenant_id = new.id and up.depth > 0);
  insert into access.tenant_ancestor (tenant_id, ancestor_id, depth)
    select below.tenant_id, up.ancestor_id, below.depth + up.depth + 1
    from access.tenant_ancestor below, access.tenant_ancestor up
    where below.ancestor_id = new.id and up.tenant_id = new.parent_id;
  return null;
end $$;
create function access.tenant_goes() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  delete from access.tenant_ancestor where tenant_id = old.id;
  return null;
end $$;
create trigger tenant_goes after delete on access.tenant for each row execute function access.tenant_goes();

-- What a tenant had goes with it: the purge works as demarc_system, in every table of tenants, those of later
-- migrations too.
create or replace function kernel.wall(walled regclass) returns void language plpgsql as $$
begin
  execute format('alter table %s enable row level security', walled);
  execute format('alter table %s force row level security', walled);
  execute format(
    'create policy tenant_wall on %1$s to demarc_server using (exists (select from access.tenant_ancestor a where a.tenant_id = %1$s.tenant_id and a.ancestor_id = current_setting(''demarc.tenant'', true)))',
    walled);
  execute format('create policy system on %s to demarc_system using (true)', walled);
  execute format('grant select, insert, update, delete on %s to demarc_server', walled);
  execute format('grant select, delete on %s to demarc_system', walled);
end $$;
do $$
declare
  walled regclass;
begin
  for walled in
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
      and exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id' and not attisdropped)
      -- Kept by the triggers of access.tenant alone.
      and c.oid <> 'access.tenant_ancestor'::regclass
  loop
    execute format('grant select, delete on %s to demarc_system', walled);
  end loop;
end $$;

-- The last link of the audit chain of a tenant whose purge has begun, until the parent's trail takes it over.
alter table access.tenant add column last_head jsonb;
