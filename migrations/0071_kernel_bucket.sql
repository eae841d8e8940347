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
