-- What an operation over many watches has done so far, until it ends (monitoring, 3). Each row is written together with
-- its effect on the watch, so that work which is taken up again does nothing twice.
create table monitoring.watch_batch_item (
  tenant_id text not null references access.tenant (id),
  operation_id text not null,
  watch_id text not null,
  -- The test of this watch, and whether this operation started it or found it under way.
  test_operation_id text,
  started boolean not null default false,
  -- Null while the test is under way.
  outcome text,
  code text,
  primary key (tenant_id, operation_id, watch_id)
);
create index watch_batch_item_operation on monitoring.watch_batch_item (operation_id);
create index watch_batch_item_test on monitoring.watch_batch_item (test_operation_id) where outcome is null;
select kernel.wall('monitoring.watch_batch_item');
