-- What works on queues goes by their indexes, whatever the planner saw: a queue is all but empty when a statement is
-- planned for the rest of its connection, and the plan that was best then reads every row that has since left it.
alter function kernel.log_news(timestamptz, integer) set enable_seqscan = off;
alter function kernel.log_news(timestamptz, integer) set enable_bitmapscan = off;
alter function kernel.enqueue_deliveries(jsonb, timestamptz, text, integer) set enable_seqscan = off;
alter function kernel.enqueue_deliveries(jsonb, timestamptz, text, integer) set enable_bitmapscan = off;
alter function kernel.claim_deliveries(text, timestamptz, integer, integer) set enable_seqscan = off;
alter function kernel.claim_deliveries(text, timestamptz, integer, integer) set enable_bitmapscan = off;
alter function kernel.settle_deliveries(jsonb, text, timestamptz) set enable_seqscan = off;
alter function kernel.settle_deliveries(jsonb, text, timestamptz) set enable_bitmapscan = off;
-- And each is planned once: to plan one of them takes longer than to run it.
alter function kernel.log_news(timestamptz, integer) set plan_cache_mode = force_generic_plan;
alter function kernel.enqueue_deliveries(jsonb, timestamptz, text, integer) set plan_cache_mode = force_generic_plan;
alter function kernel.claim_deliveries(text, timestamptz, integer, integer) set plan_cache_mode = force_generic_plan;
alter function kernel.settle_deliveries(jsonb, text, timestamptz) set plan_cache_mode = force_generic_plan;

-- As in 0100, and: where nobody wants anything there is nothing to make.
create or replace function notifications.make_deliveries(seen bigint, reached bigint, reached_at timestamptz, items jsonb, at timestamptz,
  worker text, room integer) returns setof kernel.delivery language plpgsql as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  update notifications.webhook_place set position = reached, logged_at = reached_at, moved_by = worker where position = seen;
  if found and items <> '[]' then return query select * from kernel.enqueue_deliveries(items, at, worker, room); end if;
end $$;
