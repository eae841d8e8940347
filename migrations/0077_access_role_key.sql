-- Custom roles (access, section 3), keys from elsewhere and bound ones (section 4).

-- A role is given at places, a privilege in the whole tenant. `name_key` is fold(name) of directory, A2, made by the
-- server: no locale of a database has a say in it.
alter table access.role
  add column face text not null default 'role' check (face in ('role', 'privilege')),
  add column name_key text;
create unique index role_name on access.role (tenant_id, face, name_key);
create index role_list on access.role (tenant_id, created_at, id);
create index assignment_role on access.assignment (role_id);

create unique index key_bound_title on access.key (tenant_id, (bound ->> 'id'), lower(title))
  where deleted_at is null and kind = 'bound';
create index key_bound on access.key ((bound ->> 'id')) where kind = 'bound' and deleted_at is null;
create index key_responsible on access.key (responsible_user_id) where responsible_user_id is not null;
