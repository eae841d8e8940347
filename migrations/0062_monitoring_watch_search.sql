-- What searches for watches need beside the columns themselves (monitoring, 3.1).

-- Row security lets an index serve a condition only where its functions are leakproof, which lower() is not: so the
-- lower-cased texts stand in columns of their own.
alter table monitoring.watch
  add column name_key text not null generated always as (lower(name)) stored,
  -- One text for `q`, in lines, since no searched text holds a line break.
  add column search text not null generated always as (
    lower(name || E'\n' || coalesce(description, '') || E'\n' || coalesce(device_address, '') || E'\n' || coalesce(reference, '')
      || E'\n' || coalesce(product_type, '') || E'\n' || coalesce(customer_reference, ''))
  ) stored;

drop index monitoring.watch_by_name;
create index watch_by_name on monitoring.watch (tenant_id, name_key);
create index watch_name_order on monitoring.watch (tenant_id, name, id);
-- The default order for who sees many tenants: no index that begins with the tenant can give it.
create index watch_order on monitoring.watch (created_at, id);
create index watch_test_state on monitoring.watch (tenant_id, test_state, created_at, id);
create index watch_product_type on monitoring.watch (tenant_id, product_type) where product_type is not null;
