-- Levels of token buckets that several processes share (access, section 6). What a crash of the database takes is
-- refilled within seconds anyway, so nothing of it is logged. No rows of tenants: the name of a bucket is a lane, a client or
-- an address, and no caller reads it.
create unlogged table kernel.bucket (
  name text primary key,
  level integer not null,
  at_ms bigint not null,
  rate integer not null,
  burst integer not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
grant select, insert, update, delete on kernel.bucket to demarc_system;

create function kernel.bucket_clock_ms() returns bigint language sql volatile as $$
  select floor(extract(epoch from clock_timestamp()) * 1000)::bigint
$$;

-- Lets flow in what is due and, if `charge` and every bucket holds a call (1000), takes one out of each. Gives the levels
-- before that. The arithmetic is that of kernel/throttle-core.ts: what flowed in counts at the rate that held until now, a
-- changed rate keeps the level, capped, and a clock that steps back adds nothing and goes on from there. `clock_ms` null: this
-- server's clock, read once the rows are locked.
create function kernel.take_calls(names text[], rates integer[], bursts integer[], charge boolean, clock_ms bigint)
returns integer[] language plpgsql volatile as $$
declare
  ats bigint[] := '{}';
  levels integer[] := '{}';
  old_rates integer[] := '{}';
  old_bursts integer[] := '{}';
  now_ms bigint;
  level bigint;
  kept kernel.bucket;
  room boolean := charge;
begin
  for i in 1 .. cardinality(names) loop
    select * into kept from kernel.bucket b where b.name = names[i] for update;
    if not found then
      insert into kernel.bucket values (names[i], bursts[i] * 1000, coalesce(clock_ms, kernel.bucket_clock_ms()), rates[i], bursts[i])
        on conflict do nothing;
      select * into kept from kernel.bucket b where b.name = names[i] for update;
    end if;
    ats[i] := kept.at_ms;
    levels[i] := kept.level;
    old_rates[i] := kept.rate;
    old_bursts[i] := kept.burst;
  end loop;
  now_ms := coalesce(clock_ms, kernel.bucket_clock_ms());
  for i in 1 .. cardinality(names) loop
    level := levels[i] + greatest(0, now_ms - ats[i]) * old_rates[i];
    levels[i] := least(level, old_bursts[i] * 1000, bursts[i] * 1000);
    room := room and levels[i] >= 1000;
  end loop;
  for i in 1 .. cardinality(names) loop
    -- A refusal need not be written: the same flows in later.
    if room or now_ms < ats[i] or old_rates[i] <> rates[i] or old_bursts[i] <> bursts[i] then
      update kernel.bucket b set level = levels[i] - case when room then 1000 else 0 end, at_ms = now_ms, rate = rates[i], burst = bursts[i]
        where b.name = names[i];
    end if;
  end loop;
  return levels;
end $$;

-- Forgets the buckets that are full again.
create function kernel.sweep_buckets() returns void language sql as $$
  delete from kernel.bucket where at_ms + (burst * 1000 - level) / rate + 60000 < kernel.bucket_clock_ms()
$$;

-- Tries to log in (access, section 5.1): by name and address, by address alone (name_key '') and by name alone (address '').
-- Names are kept as digests: a name that was tried may be a password typed into the wrong field. Logged, because a lock
-- must outlive a crash.
create table access.guess (
  name_key text not null,
  address text not null,
  -- {failedAtMs: [], flyingSinceMs: [], pausedUntilMs, pauses}, see modules/access/guess-tally.ts.
  tally jsonb not null,
  forget_at timestamptz not null,
  primary key (name_key, address)
) with (fillfactor = 70);
create index guess_age on access.guess (forget_at);
grant select, insert, update, delete on access.guess to demarc_system;

-- Wrong keys, tokens and client secrets of an address, in the order they came.
create unlogged table access.wrong_credential (
  address text primary key,
  at_ms bigint[] not null
) with (fillfactor = 50);
grant select, insert, update, delete on access.wrong_credential to demarc_system;

-- Counts a wrong credential where fewer than `free` came within `window_ms`; else gives the time at which the oldest passes.
create function access.count_wrong_credential(of_address text, now_ms bigint, free integer, window_ms bigint)
returns bigint language plpgsql volatile as $$
declare
  kept bigint[];
begin
  insert into access.wrong_credential values (of_address, '{}') on conflict do nothing;
  select w.at_ms into kept from access.wrong_credential w where w.address = of_address for update;
  kept := array(select t from unnest(kept) t where t + window_ms > now_ms order by t);
  if cardinality(kept) >= free then return kept[1] + window_ms; end if;
  update access.wrong_credential w set at_ms = kept || now_ms where w.address = of_address;
  return null;
end $$;
