-- Deliveries in fewer and shorter statements: what is new is given to the worker that makes it, and what went well
-- touches no row of its target.

-- Each delivery is written three times: an index counts three times too. What only the nightly sweep asks by is found by
-- block ranges, since rows come in the order of time.
alter table kernel.delivery drop constraint delivery_pkey, drop constraint delivery_id_key, add primary key (id);
drop index kernel.delivery_list;
create unique index delivery_list on kernel.delivery (tenant_id, created_at, id);
drop index kernel.delivery_age;
create index delivery_age on kernel.delivery using brin (created_at);
drop index kernel.delivery_attempt_age;
create index delivery_attempt_age on kernel.delivery_attempt using brin (at);

-- `owner_off`: on whose behalf its messages are made may not act for the time being; the target's kind says so.
alter table kernel.delivery_target add column owner_off boolean not null default false;
drop index kernel.delivery_target_due;
create index delivery_target_due on kernel.delivery_target (due_at) where is_on and not suspended and not owner_off;
create index delivery_target_owner_off on kernel.delivery_target (kind) where owner_off;

-- Locks, always in this order: targets by id, then deliveries. Enqueuing and settling take a target for key share, so
-- that they keep out of nobody's way but that of whoever switches it, or claims from it; claiming takes what is free.

create function kernel.is_ready(t kernel.delivery_target) returns boolean language sql immutable as $$
  select t.is_on and not t.suspended and not t.owner_off;
$$;

-- Makes deliveries, and gives those that may go out at once to `worker`, `room` at most: of targets that are well, unpaced
-- and unordered, with nothing waiting, and with no other worker at it. The others are there for whoever claims first.
drop function kernel.enqueue_deliveries(jsonb, timestamptz);
create function kernel.enqueue_deliveries(items jsonb, at timestamptz, worker text, room integer)
returns setof kernel.delivery language plpgsql as $$
declare
  made kernel.delivery;
  waiting boolean := false;
begin
  perform from kernel.delivery_target where id in (select i->>'targetId' from jsonb_array_elements(items) i)
    order by id for key share;
  for made in
    with given as materialized (
      select r.*, row_number() over (order by r."ordinal") as place,
        row_number() over (partition by r."targetId" order by r."ordinal") as own_place
      from jsonb_to_recordset(items) as r("id" text, "targetId" text, "messageId" text, "about" text, "ordinal" bigint, "replayId" text)
    ), target as materialized (
      select t.tenant_id, t.id, t.kind, kernel.is_ready(t) as ready,
        case when room <= 0 or not kernel.is_ready(t) or t.in_order or t.failures > 0 or t.rate_per_second is not null
            or t.paused_until > at or kernel.is_suspended(t.tenant_id)
            or exists (select from kernel.delivery d where d.target_id = t.id and d.status in ('pending', 'retrying')
              and d.lease_until is null and d.next_attempt_at <= at) then 0
          else (select case when bool_or(d.lease_holder <> worker) then 0 else 16 * t.max_in_flight - count(*) end
            from kernel.delivery d where d.target_id = t.id and d.lease_until is not null) end as free
      from kernel.delivery_target t where t.id in (select "targetId" from given)
    ), made as (
      insert into kernel.delivery (tenant_id, id, kind, target_id, message_id, about, ordinal, status, replay_id, next_attempt_at,
        lease_holder, lease_until, created_at, updated_at)
      select t.tenant_id, g."id", t.kind, t.id, g."messageId", g."about", g."ordinal", case when t.ready then 'pending' else 'held' end,
        g."replayId", at, case when g.place <= room and g.own_place <= t.free then worker end,
        case when g.place <= room and g.own_place <= t.free then at + interval '60 seconds' end, at, at
      from given g join target t on t.id = g."targetId"
      on conflict (target_id, message_id) do nothing
      returning *
    ), stirred as materialized (
      select t.id, m.waits from kernel.delivery_target t
      join (select target_id, bool_or(lease_until is null) as waits from made where status = 'pending' group by target_id) m on m.target_id = t.id
      where t.due_at > case when m.waits then at else at + interval '60 seconds' end
      order by t.id for no key update of t
    ), marked as (
      update kernel.delivery_target t set due_at = case when s.waits then at else at + interval '60 seconds' end
      from stirred s where t.id = s.id
    )
    select * from made where status = 'pending'
  loop
    if made.lease_until is null then waiting := true; else return next made; end if;
  end loop;
  if waiting then perform pg_notify('demarc_delivery', ''); end if;
end $$;

create or replace function kernel.switch_target(target text, turned_on boolean, at timestamptz) returns void language plpgsql as $$
declare
  ready boolean;
begin
  perform from kernel.delivery_target where id = target for update;
  update kernel.delivery_target set is_on = turned_on, paused_until = '-infinity',
    failures = case when turned_on then 0 else failures end, failing_since = case when turned_on then null else failing_since end,
    warnings = case when turned_on then 0 else warnings end
  where id = target returning kernel.is_ready(delivery_target) into ready;
  if not turned_on then perform kernel.hold_deliveries(target, at);
  elsif ready then perform kernel.free_deliveries(target, at);
  end if;
  perform pg_notify('demarc_delivery', '');
end $$;

-- Holds what a target has while its owner may not act, and lets it go on afterwards.
create function kernel.set_owner_off(target text, turned_off boolean, at timestamptz) returns void language plpgsql as $$
declare
  ready boolean;
begin
  perform from kernel.delivery_target where id = target for update;
  update kernel.delivery_target set owner_off = turned_off where id = target and owner_off <> turned_off
    returning kernel.is_ready(delivery_target) into ready;
  if not found then return; end if;
  if turned_off then perform kernel.hold_deliveries(target, at);
  elsif ready then perform kernel.free_deliveries(target, at);
  end if;
  perform pg_notify('demarc_delivery', '');
end $$;

create or replace function kernel.resume_targets(at timestamptz) returns void language plpgsql as $$
declare
  t record;
begin
  for t in select * from kernel.delivery_target where suspended for update skip locked loop
    continue when kernel.is_suspended(t.tenant_id);
    update kernel.delivery_target set suspended = false where id = t.id;
    if t.is_on and not t.owner_off then perform kernel.free_deliveries(t.id, at); end if;
  end loop;
end $$;

create or replace function kernel.leave_deliveries(worker text, at timestamptz) returns void language plpgsql as $$
begin
  perform from kernel.delivery_target where id in (select target_id from kernel.delivery where lease_holder = worker and lease_until is not null)
    order by id for no key update;
  with freed as (
    update kernel.delivery set lease_holder = null, lease_until = null where lease_holder = worker and lease_until is not null
    returning target_id
  )
  update kernel.delivery_target set due_at = least(due_at, at) where id in (select target_id from freed);
  perform pg_notify('demarc_delivery', '');
end $$;

-- Gives back what processes that are no more had claimed. They have been silent for as long as a call may take, so that
-- what must go in order is not under way twice even where one of them lives on, cut off from the database.
create function kernel.leave_for_dead(at timestamptz) returns void language plpgsql as $$
declare
  dead text;
begin
  if not pg_try_advisory_xact_lock(7301946090) then return; end if;
  for dead in
    select distinct d.lease_holder from kernel.delivery d where d.lease_until is not null and not exists (
      select from kernel.process p where p.id = d.lease_holder and p.heartbeat_at > clock_timestamp() - interval '15 seconds')
  loop
    perform kernel.leave_deliveries(dead, at);
  end loop;
end $$;

-- As in 0082, and: what a crash of the database undoes of it is claimed again, so its commit waits for no disk.
create or replace function kernel.claim_deliveries(worker text, at timestamptz, room integer, failing_room integer)
returns setof kernel.delivery language plpgsql as $$
declare
  t record;
  flying integer;
  elsewhere boolean;
  allowed integer;
  most integer;
  taken integer;
  given integer := 0;
  given_failing integer := 0;
  next timestamptz;
  slot timestamptz;
begin
  perform set_config('synchronous_commit', 'off', true);
  for t in
    select * from kernel.delivery_target where is_on and not suspended and not owner_off and due_at <= at and (failures = 0 or failing_room > 0)
    order by due_at limit 100 for update skip locked
  loop
    exit when given >= room;
    if kernel.is_suspended(t.tenant_id) then
      update kernel.delivery_target set suspended = true where id = t.id;
      perform kernel.hold_deliveries(t.id, at);
      continue;
    end if;
    if t.paused_until > at or t.next_slot_at > at then
      update kernel.delivery_target set due_at = greatest(t.paused_until, t.next_slot_at) where id = t.id;
      continue;
    end if;
    update kernel.delivery set lease_holder = null, lease_until = null where target_id = t.id and lease_until <= at;
    select count(*), coalesce(bool_or(lease_holder <> worker), false) into flying, elsewhere
    from kernel.delivery where target_id = t.id and lease_until is not null;
    -- A worker takes some more than it may send at once, and they are its alone: it sees to the number at once. Of a
    -- failing target it takes no more than that; one that has failed 20 times in a row is probed by one at a time.
    allowed := case when elsewhere then 0 when t.in_order or t.failures >= 20 then 1
      when t.failures > 0 then t.max_in_flight else 16 * t.max_in_flight end - flying;
    if t.rate_per_second is not null then allowed := least(allowed, greatest(1, floor(t.rate_per_second / 20)::integer)); end if;
    most := greatest(0, least(allowed, room - given, case when t.failures > 0 then failing_room - given_failing else room end));
    taken := 0;
    if most > 0 then
      return query
        with chosen as (
          select d.id from kernel.delivery d
          where d.target_id = t.id and d.status in ('pending', 'retrying') and d.lease_until is null and d.next_attempt_at <= at
            and (not t.in_order or d.ordinal = (select min(o.ordinal) from kernel.delivery o
              where o.target_id = t.id and o.status in ('pending', 'retrying')))
          order by d.next_attempt_at, d.ordinal limit most
        )
        update kernel.delivery d set lease_holder = worker, lease_until = at + interval '60 seconds'
        from chosen where d.id = chosen.id returning d.*;
      get diagnostics taken = row_count;
    end if;
    given := given + taken;
    if t.failures > 0 then given_failing := given_failing + taken; end if;
    slot := case when t.rate_per_second is null then t.next_slot_at
      else greatest(t.next_slot_at, at) + taken / t.rate_per_second * interval '1 second' end;
    select least(
        (select min(lease_until) from kernel.delivery where target_id = t.id and lease_until is not null),
        (select min(next_attempt_at) from kernel.delivery where target_id = t.id and status in ('pending', 'retrying')
          and lease_until is null and next_attempt_at > at),
        -- More may be due: once a slot comes, or this worker has room. Otherwise the end of a call tells.
        case when taken = most and taken = allowed and t.rate_per_second is not null then slot
          when taken = most and most < allowed then at end)
      into next;
    update kernel.delivery_target set due_at = coalesce(next, 'infinity'), next_slot_at = slot where id = t.id;
  end loop;
end $$;

-- Writes down how attempts ended; `number` is the attempt's, `status` the delivery's from now on. Without an outcome
-- there was no attempt. A target is written only where something of it changes: it failed or had failed, pauses, or has
-- more waiting; those are what is given back, as they stand.
create or replace function kernel.settle_deliveries(items jsonb, worker text, moment timestamptz)
returns table (tenant_id text, target_id text, kind text, failures integer, failing_since timestamptz, warnings smallint,
  disable_after_hours integer) language plpgsql as $$
#variable_conflict use_column
declare
  stirred text[];
begin
  perform from kernel.delivery_target t where t.id in (select i->>'targetId' from jsonb_array_elements(items) i)
    order by t.id for key share;
  -- Read after the lock: what was claimed and enqueued before it is seen here, what comes later looks for itself.
  select array_agg(s.id) into stirred from (
    select t.id from kernel.delivery_target t
    where t.id in (select i->>'targetId' from jsonb_array_elements(items) i)
      and (t.failures > 0
        or t.id in (select i->>'targetId' from jsonb_array_elements(items) i where i->>'status' not in ('delivered', 'discarded'))
        or exists (select from kernel.delivery d where d.target_id = t.id and d.status in ('pending', 'retrying')
          and d.lease_until is null and d.next_attempt_at <= moment))
    order by t.id for no key update) s;
  return query
    with given as (
      select * from jsonb_to_recordset(items) as r("id" text, "targetId" text, "number" integer, "status" text, "body" text,
        "nextAttemptAt" timestamptz, "pausedUntil" timestamptz, "at" timestamptz, "durationMs" integer, "outcome" text,
        "httpStatus" integer, "error" text, "address" text, "url" text, "requestHeaders" jsonb, "replyHeaders" jsonb, "replyBody" text)
    ), done as (
      update kernel.delivery d set
        -- Switched off meanwhile: what is not final is held.
        status = case when g."status" in ('pending', 'retrying') and d.status = 'held' then 'held' else g."status" end,
        body = case when g."status" = 'delivered' then null else coalesce(g."body", d.body) end,
        attempts = case when g."outcome" is null then d.attempts else d.attempts + 1 end,
        tries = case when g."outcome" is null then d.tries else d.tries + 1 end,
        next_attempt_at = g."nextAttemptAt", lease_holder = null, lease_until = null, updated_at = moment
      from given g
      where d.id = g."id" and d.lease_holder = worker and d.attempts = g."number" - 1 and d.status in ('pending', 'retrying', 'held')
      returning d.tenant_id, d.id, d.target_id, g."number", g."outcome", g."pausedUntil"
    ), logged as (
      insert into kernel.delivery_attempt (tenant_id, delivery_id, number, at, duration_ms, outcome, status, error, address, url,
        request_headers, reply_headers, reply_body, next_attempt_at)
      select d.tenant_id, d.id, d.number, g."at", g."durationMs", g."outcome", g."httpStatus", g."error", g."address", g."url",
        g."requestHeaders", g."replyHeaders", g."replyBody", g."nextAttemptAt"
      from done d join given g on g."id" = d.id where g."outcome" is not null
    ), sums as (
      select d.target_id, count(*) filter (where d."outcome" = 'delivered') as good,
        count(*) filter (where d."outcome" <> 'delivered') as bad, max(d."pausedUntil") as paused
      from done d group by d.target_id
    )
    update kernel.delivery_target t set
      failures = case when s.good > 0 then 0 else t.failures + s.bad::integer end,
      failing_since = case when s.good > 0 then null when s.bad > 0 then coalesce(t.failing_since, moment) else t.failing_since end,
      warnings = case when s.good > 0 then 0 else t.warnings end,
      -- A probe that failed: the next one in a minute. The others wait without using up tries.
      paused_until = greatest(t.paused_until, s.paused,
        case when s.good = 0 and t.failures + s.bad >= 20 then moment + interval '60 seconds' end),
      due_at = least(t.due_at, moment)
    from sums s where t.id = s.target_id and t.id = any (stirred)
    returning t.tenant_id, t.id, t.kind, t.failures, t.failing_since, t.warnings, t.disable_after_hours;
end $$;

-- The worker that moved the place last: the others stand by.
alter table notifications.webhook_place add column moved_by text;

-- Moves the place of webhooks in the log on, from `seen` to `reached`, and makes the deliveries of what lies between; not
-- where somebody else has moved it. A crash of the database undoes both or neither: its commit waits for no disk.
create function notifications.make_deliveries(seen bigint, reached bigint, reached_at timestamptz, items jsonb, at timestamptz,
  worker text, room integer) returns setof kernel.delivery language plpgsql as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  update notifications.webhook_place set position = reached, logged_at = reached_at, moved_by = worker where position = seen;
  if found then return query select * from kernel.enqueue_deliveries(items, at, worker, room); end if;
end $$;
