-- How people come in: the second factor, links that work once, and the mails that carry them (access, sections 1 and 5).

-- A secret that is not confirmed yet asks nobody for a code. `steps` are the time steps whose code was accepted, as long
-- as that code could still come again.
create table access.totp (
  tenant_id text not null references access.tenant (id),
  user_id text not null primary key,
  secret_sealed text not null,
  begun_at timestamptz not null,
  confirmed_at timestamptz,
  steps bigint[] not null default '{}'
);
select kernel.wall('access.totp');
-- To seal it anew under another key.
grant select, update (secret_sealed) on access.totp to demarc_system;

create table access.recovery_code (
  tenant_id text not null references access.tenant (id),
  user_id text not null,
  digest bytea not null,
  used_at timestamptz,
  primary key (user_id, digest)
);
select kernel.wall('access.recovery_code');

-- Only the digest of a link's token is kept. `ended_at`: used, or put out of use by what happened since.
create table access.link (
  tenant_id text not null references access.tenant (id),
  id text not null primary key,
  kind text not null check (kind in ('invitation', 'reset', 'setup')),
  user_id text,
  digest bytea not null unique,
  -- Of an administrator made with its tenant: never used, it is deleted with the link.
  takes_user boolean not null default false,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  used_at timestamptz,
  check ((user_id is null) = (kind = 'setup'))
);
create index link_user on access.link (user_id, created_at) where user_id is not null;
create index link_age on access.link (expires_at);
select kernel.wall('access.link');
grant select, delete on access.link to demarc_system;

-- Mails on their way. The content holds a link, so it is sealed, and dropped once the mail is sent or given up.
create table kernel.mail (
  tenant_id text not null,
  id text not null primary key,
  kind text not null,
  about jsonb not null,
  content_sealed text,
  status text not null default 'queued' check (status in ('queued', 'sent', 'failed')),
  tries smallint not null default 0,
  due_at timestamptz not null,
  last_error text,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  finished_at timestamptz
);
create index mail_due on kernel.mail (due_at) where status = 'queued';
create index mail_age on kernel.mail (finished_at) where status <> 'queued';
select kernel.wall('kernel.mail');
grant select, update, delete on kernel.mail to demarc_system;
