-- The engine of all outbound messages (exchange, section 6).

-- What is paced, paused and disabled as one: a webhook, an endpoint, a notice address.
create table kernel.delivery_target (
  tenant_id text not null,
  id text not null,
  kind text not null,
  is_on boolean not null default true,
  -- Its tenant, or one above it, is suspended.
  suspended boolean not null default false,
  in_order boolean not null default false,
  max_in_flight integer not null,
  rate_per_second double precision,
  retry_seconds integer[] not null,
  disable_after_hours integer not null,
  -- Failed attempts since the last success, and since when.
  failures integer not null default 0,
  failing_since timestamptz,
  warnings smallint not null default 0,
  paused_until timestamptz not null default '-infinity',
  next_slot_at timestamptz not null default '-infinity',
  -- When it is worth while to look at its deliveries. Only ever too early.
  due_at timestamptz not null default 'infinity',
  primary key (tenant_id, id),
  unique (id)
);
create index delivery_target_due on kernel.delivery_target (due_at) where is_on and not suspended;
create index delivery_target_suspended on kernel.delivery_target (tenant_id) where suspended;
select kernel.wall('kernel.delivery_target');
grant select, insert, update, delete on kernel.delivery_target to demarc_system;

create table kernel.delivery (
  tenant_id text not null,
  id text not null,
  kind text not null,
  target_id text not null,
  message_id text not null,
  -- What the message tells of: the type of an event.
  about text not null,
  -- The message's place among those of its target.
  ordinal bigint not null,
  status text not null check (status in ('pending', 'retrying', 'held', 'delivered', 'dead', 'discarded')),
  -- What the first attempt sent, so that all send the same; null before it, and once it was delivered.
  body text,
  -- All attempts ever, and those of this run of the schedule.
  attempts integer not null default 0,
  tries integer not null default 0,
  replay_count integer not null default 0,
  replay_id text,
  next_attempt_at timestamptz,
  lease_holder text,
  lease_until timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  unique (id),
  unique (target_id, message_id)
);
create index delivery_due on kernel.delivery (target_id, next_attempt_at, ordinal)
  where status in ('pending', 'retrying') and lease_until is null;
create index delivery_leased on kernel.delivery (target_id, lease_until) where lease_until is not null;
create index delivery_order on kernel.delivery (target_id, ordinal) where status in ('pending', 'retrying', 'held');
create index delivery_replay on kernel.delivery (replay_id) where replay_id is not null;
create index delivery_list on kernel.delivery (tenant_id, created_at, id);
create index delivery_age on kernel.delivery (kind, created_at);
create index delivery_message on kernel.delivery (message_id) where body is not null;
select kernel.wall('kernel.delivery');
grant select, insert, update, delete on kernel.delivery to demarc_system;

-- One call each; the body stands with the delivery, or follows from its source.
create table kernel.delivery_attempt (
  tenant_id text not null,
  delivery_id text not null,
  number integer not null,
  at timestamptz not null,
  duration_ms integer not null,
  outcome text not null,
  status integer,
  error text,
  address text,
  url text not null,
  request_headers jsonb not null,
  reply_headers jsonb,
  reply_body text,
  next_attempt_at timestamptz,
  primary key (tenant_id, delivery_id, number)
);
create index delivery_attempt_age on kernel.delivery_attempt (at);
select kernel.wall('kernel.delivery_attempt');
grant select, insert, delete on kernel.delivery_attempt to demarc_system;

-- Locks are always taken in this order: targets, by id, then deliveries. Claiming alone takes what is free.

create function kernel.enqueue_deliveries(items jsonb, at timestamptz) returns void language plpgsql as $$
begin
  perform from kernel.delivery_target where id in (select i->>'targetId' from jsonb_array_elements(items) i) order by id for update;
  insert into kernel.delivery (tenant_id, id, kind, target_id, message_id, about, ordinal, status, replay_id, next_attempt_at, created_at, updated_at)
  select t.tenant_id, r."id", t.kind, t.id, r."messageId", r."about", r."ordinal",
    case when t.is_on and not t.suspended then 'pending' else 'held' end, r."replayId", at, at, at
  from jsonb_to_recordset(items) as r("id" text, "targetId" text, "messageId" text, "about" text, "ordinal" bigint, "replayId" text)
  join kernel.delivery_target t on t.id = r."targetId"
  on conflict (target_id, message_id) do nothing;
  update kernel.delivery_target set due_at = at
  where id in (select i->>'targetId' from jsonb_array_elements(items) i) and due_at > at;
  perform pg_notify('demarc_delivery', '');
end $$;

create function kernel.hold_deliveries(target text, at timestamptz) returns void language sql as $$
  update kernel.delivery set status = 'held', updated_at = at
  where target_id = target and status in ('pending', 'retrying');
$$;

create function kernel.free_deliveries(target text, at timestamptz) returns void language sql as $$
  update kernel.delivery set status = case when tries = 0 then 'pending' else 'retrying' end, updated_at = at
  where target_id = target and status = 'held';
  update kernel.delivery_target set due_at = at where id = target;
$$;

create function kernel.switch_target(target text, turned_on boolean, at timestamptz) returns void language plpgsql as $$
declare
  held boolean;
begin
  select suspended into held from kernel.delivery_target where id = target for update;
  update kernel.delivery_target set is_on = turned_on, paused_until = '-infinity',
    failures = case when turned_on then 0 else failures end, failing_since = case when turned_on then null else failing_since end,
    warnings = case when turned_on then 0 else warnings end
  where id = target;
  if not turned_on then perform kernel.hold_deliveries(target, at);
  elsif not held then perform kernel.free_deliveries(target, at);
  end if;
  perform pg_notify('demarc_delivery', '');
end $$;

-- Lets a final delivery run through its schedule once more.
create function kernel.replay_deliveries(target text, ids text[], replay text, at timestamptz) returns integer language plpgsql as $$
declare
  replayed integer;
begin
  perform from kernel.delivery_target where id = target for update;
  update kernel.delivery set status = 'pending', tries = 0, replay_count = replay_count + 1,
    replay_id = coalesce(replay, id), next_attempt_at = at, updated_at = at
  where target_id = target and id = any(ids) and status in ('delivered', 'dead', 'discarded');
  get diagnostics replayed = row_count;
  update kernel.delivery_target set due_at = least(due_at, at) where id = target;
  perform pg_notify('demarc_delivery', '');
  return replayed;
end $$;

create function kernel.is_suspended(tenant text) returns boolean language sql stable as $$
  select exists (select from access.tenant_ancestor a join access.tenant t on t.id = a.ancestor_id
    where a.tenant_id = tenant and t.status = 'suspended');
$$;

-- Gives deliveries to a worker: of each target that is due as many as it may have at once, the longest due first. What
-- is claimed and not settled within a minute is claimed again. Each statement within sees what was committed before it.
create function kernel.claim_deliveries(worker text, at timestamptz, room integer, failing_room integer)
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
  for t in
    select * from kernel.delivery_target where is_on and not suspended and due_at <= at and (failures = 0 or failing_room > 0)
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
-- there was no attempt. Tells what failing targets have come to.
create function kernel.settle_deliveries(items jsonb, worker text, moment timestamptz)
returns table (tenant_id text, target_id text, kind text, failures integer, failing_since timestamptz, warnings smallint,
  disable_after_hours integer) language plpgsql as $$
#variable_conflict use_column
begin
  perform from kernel.delivery_target t where t.id in (select i->>'targetId' from jsonb_array_elements(items) i) order by t.id for update;
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
    from sums s where t.id = s.target_id
    returning t.tenant_id, t.id, t.kind, t.failures, t.failing_since, t.warnings, t.disable_after_hours;
end $$;

-- Gives back what a worker that ends has claimed and not settled.
create function kernel.leave_deliveries(worker text, at timestamptz) returns void language plpgsql as $$
begin
  with freed as (
    update kernel.delivery set lease_holder = null, lease_until = null where lease_holder = worker and lease_until is not null
    returning target_id
  )
  update kernel.delivery_target set due_at = least(due_at, at) where id in (select target_id from freed);
  perform pg_notify('demarc_delivery', '');
end $$;

-- Goes on with targets whose tenant is no longer suspended.
create function kernel.resume_targets(at timestamptz) returns void language plpgsql as $$
declare
  t record;
begin
  for t in select * from kernel.delivery_target where suspended for update skip locked loop
    continue when kernel.is_suspended(t.tenant_id);
    update kernel.delivery_target set suspended = false where id = t.id;
    if t.is_on then perform kernel.free_deliveries(t.id, at); end if;
  end loop;
end $$;

-- An erased person is in no message that is yet to be sent, whoever it goes to: it is rendered anew from the log.
create function kernel.redact_deliveries(tenant text, about_subject text) returns void
  language sql security definer set search_path = pg_catalog as $$
  update kernel.delivery set body = null
  where body is not null and message_id in (select id from kernel.event where tenant_id = tenant and subject = about_subject);
$$;
grant create on schema kernel to demarc_system;
alter function kernel.redact_deliveries(text, text) owner to demarc_system;
revoke create on schema kernel from demarc_system;
