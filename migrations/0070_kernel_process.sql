-- The server processes that are alive. Each writes its own row every 300 ms; one whose heartbeat is older than 3 s counts
-- as gone. Unlogged: a heartbeat must not cost the disk anything, and after a crash the processes write themselves in again.
create unlogged table kernel.process (
  id text primary key,
  release text not null,
  started_at timestamptz not null,
  heartbeat_at timestamptz not null,
  -- The generation of rights (kernel.generation) up to which the process has dropped what it kept.
  generation bigint not null,
  -- The master keys that the process holds.
  master_kids text[] not null
);
grant select, insert, update, delete on kernel.process to demarc_system;
grant select on kernel.process to demarc_server;
