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
