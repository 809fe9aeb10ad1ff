-- Statements of the migration runner.
-- name: role_exists
select exists (select 1 from pg_roles where rolname = 'b3os_app');
-- name: create_role
create role b3os_app nologin;
-- name: role_granted
select pg_has_role(current_user, 'b3os_app', 'member');
-- name: grant_role
do $$ begin execute format('grant b3os_app to %I', current_user); end $$;
-- name: lock
select pg_advisory_xact_lock(7034801);
-- name: history
create table if not exists schema_migrations (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now()
);
-- name: history_exists
select to_regclass('schema_migrations') is not null;
-- name: applied
select name, sha256 from schema_migrations;
-- name: record
insert into schema_migrations (name, sha256) values ($1, $2);
