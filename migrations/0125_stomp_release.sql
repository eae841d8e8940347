-- After a crash of the database nobody stands in kernel.process (it is unlogged) until each has written itself in again,
-- within a second or so: who is missing there counts as dead only once others have stood there for a while.
alter table kernel.process add column since timestamptz not null default clock_timestamp();

create or replace function notifications.release_sessions(at timestamptz, out queues text[]) language plpgsql as $$
declare
  is_settled boolean := exists (select from kernel.process where since < clock_timestamp() - interval '15 seconds');
begin
  delete from notifications.stomp_session s where not exists (
      select from kernel.process p where p.id = s.process_id and p.heartbeat_at > clock_timestamp() - interval '30 seconds')
    and (is_settled or exists (select from kernel.process p where p.id = s.process_id));
  delete from notifications.queue_consumer c where not exists (select from notifications.stomp_session s where s.id = c.session_id);
  update notifications.durable d set session_id = null, last_used_at = at
  where session_id is not null and not exists (select from notifications.stomp_session s where s.id = d.session_id);
  with back as (
    update notifications.queue_item i set state = 'ready', session_id = null
    where state = 'taken' and not exists (select from notifications.stomp_session s where s.id = i.session_id)
    returning queue_id
  )
  select coalesce(array_agg(distinct queue_id), '{}') into queues from back;
end $$;
