-- Up to where each listener of a module (kernel/event-listeners.ts) has answered the event log. Its place moves in the
-- transaction of what it answers with, which is one of the event's tenant: hence the right of the server's role.
create table kernel.event_listener (
  name text primary key,
  position bigint not null,
  logged_at timestamptz not null
);
grant select, insert, update on kernel.event_listener to demarc_system;
grant select (name, position), update (position, logged_at) on kernel.event_listener to demarc_server;
