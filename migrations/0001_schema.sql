-- The whole first schema of B3OS. Valid on PostgreSQL 15 to 18.
-- Tenant tables start with org_id, and row level security is forced on each of them (see the end of this file).
-- node_runs, health_results and api_audit are range partitioned by day, with a default partition so that no
-- insert ever fails; b3os_ensure_partitions makes the days ahead, b3os_drop_partitions is the retention.
-- runs itself is a plain table: its rows are small, and its keys must be unique over all days.

create table organizations (
    org_id text primary key,
    name text not null,
    slug text not null,
    description text not null default '',
    photo text not null default '',
    tier text not null default 'free',
    data_key bytea,
    webhook_secret text not null default '' ,
    cu_balance numeric not null default 0,
    cu_min_threshold numeric not null default 0,
    created_by text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    deleted_by text,
    check (org_id <> '')
);
create unique index organizations_slug on organizations (slug) where deleted_at is null;
create unique index organizations_webhook_secret on organizations (webhook_secret) where webhook_secret <> '';

create table users (
    id text primary key,
    email text not null,
    name text not null default '',
    password_hash text,
    created_at timestamptz not null default now()
);
create unique index users_email on users (lower(email));

create table members (
    org_id text not null references organizations (org_id),
    user_id text not null references users (id),
    id text not null,
    role text not null check (role in ('owner', 'developer')),
    invited_by text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (org_id, user_id)
);
create index members_user on members (user_id);

create table api_keys (
    org_id text not null references organizations (org_id),
    id text not null,
    key_hash bytea not null unique check (length(key_hash) = 32),
    key_prefix text not null,
    name text not null,
    description text not null default '',
    scope text not null check (scope in ('read', 'read-write')),
    service_account_id text,
    user_id text,
    created_by text not null default '',
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    last_used_ip text,
    last_used_user_agent text,
    primary key (org_id, id)
);

create table connectors (
    org_id text not null references organizations (org_id),
    id text not null,
    type text not null,
    provider text not null default '',
    name text not null,
    description text not null default '',
    masked_data jsonb not null default '{}',
    secret bytea,
    created_by text not null default '',
    updated_by text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (org_id, id)
);

create table workflows (
    org_id text not null,
    id text not null unique,
    name text not null,
    description text not null default '',
    status text not null default 'draft' check (status in ('draft', 'active', 'paused', 'archived')),
    type text not null default '',
    version integer not null default 1,
    live_version integer,
    cooldown_ms bigint not null default 0,
    max_runs bigint,
    paused_reason text,
    visibility text not null default 'private',
    trigger_secret text unique,
    ui_metadata jsonb not null default '{}',
    template_id text,
    conversation_id text,
    created_by text not null default '',
    updated_by text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (org_id, id)
);
create index workflows_list on workflows (org_id, updated_at desc, id);

create table workflow_versions (
    org_id text not null,
    workflow_id text not null,
    version integer not null,
    name text not null,
    definition jsonb not null,
    created_by text not null default '',
    created_at timestamptz not null default now(),
    published_at timestamptz,
    primary key (org_id, workflow_id, version),
    foreign key (org_id, workflow_id) references workflows (org_id, id)
);

create function b3os_version_is_immutable() returns trigger language plpgsql as $$
begin
    if (new.definition, new.version, new.workflow_id, new.org_id)
       is distinct from (old.definition, old.version, old.workflow_id, old.org_id) then
        raise exception 'a workflow version is immutable: save a new version';
    end if;
    return new;
end $$;
create trigger workflow_versions_immutable before update on workflow_versions
    for each row execute function b3os_version_is_immutable();

-- Only workflows with a cooldown or a run limit have a row here: the others touch no shared row when they fire.
create table workflow_limits (
    org_id text not null,
    workflow_id text not null,
    cooldown_ms bigint not null default 0,
    remain_runs bigint,
    last_ms bigint,
    primary key (org_id, workflow_id),
    foreign key (org_id, workflow_id) references workflows (org_id, id)
);

-- The change feed of the masters. A change writes a new revision and its own transaction id; a reader compares
-- xid with the xmin of its snapshot, so a change that commits late is still seen, and seen once.
create sequence trigger_revisions;
create table triggers (
    org_id text not null,
    workflow_id text not null,
    node_id text not null,
    version integer not null,
    type text not null,
    payload jsonb not null default '{}',
    secret text not null default '',
    cooldown_ms bigint not null default 0,
    max_runs bigint,
    active boolean not null default true,
    revision bigint not null default nextval('trigger_revisions'),
    xid xid8 not null default pg_current_xact_id(),
    primary key (org_id, workflow_id, node_id)
);
create index triggers_feed on triggers (xid);

create table runs (
    org_id text not null,
    id text not null unique,
    workflow_id text not null default '',
    workflow_version integer not null default 0,
    status text not null default 'running'
        check (status in ('running', 'waiting', 'success', 'partial', 'failure', 'cancelled')),
    trigger_node text not null default 'root',
    trigger_source text not null default '',
    trigger_result jsonb not null default '{}',
    triggered_by text not null default '',
    source_run_id text,
    definition jsonb,
    is_simulation boolean not null default false,
    is_dust_test boolean not null default false,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    day date not null default ((now() at time zone 'utc')::date),
    owner text,
    epoch bigint not null default 0,
    shift integer not null default 0,
    woken boolean not null default false,
    primary key (org_id, id)
) with (fillfactor = 85);
create index runs_list on runs (org_id, started_at desc, id);
create index runs_of_workflow on runs (org_id, workflow_id, started_at desc);
create index runs_live on runs (owner) where status = 'running';

-- A worker's lease covers every run that it owns; renewing it is one row, however many runs there are.
create table workers (
    owner text primary key,
    until timestamptz not null
);

create table node_runs (
    org_id text not null,
    run_id text not null,
    day date not null,
    node_id text not null,
    path text not null default '',
    final boolean not null,
    seq integer not null,
    type text not null,
    status text not null check (status in ('success', 'failure', 'skipped', 'waiting')),
    input jsonb,
    result jsonb,
    branch text,
    started_ms bigint not null,
    finished_ms bigint,
    primary key (org_id, run_id, day, node_id, path, final)
) partition by range (day);
create table node_runs_default partition of node_runs default;

create table receipts (
    org_id text not null,
    key bytea not null,
    workflow_id text not null,
    run_id text,
    received_at timestamptz not null default now(),
    primary key (org_id, key)
);
create index receipts_age on receipts (received_at);

create table timers (
    org_id text not null,
    run_id text not null,
    node_id text not null,
    path text not null default '',
    kind text not null check (kind in ('delay', 'wait')),
    due_at timestamptz not null,
    primary key (org_id, run_id, node_id, path)
);
create index timers_due on timers (due_at);

create table storage (
    org_id text not null,
    workflow_id text not null,
    key text not null,
    value jsonb,
    updated_at timestamptz not null default now(),
    primary key (org_id, workflow_id, key)
);

create table leases (
    name text primary key,
    owner text not null,
    epoch bigint not null,
    until timestamptz not null
);

create table cursors (
    source text primary key,
    epoch bigint not null,
    position jsonb not null,
    updated_at timestamptz not null default now()
);

create table health_results (
    day date not null,
    at timestamptz not null default now(),
    target text not null,
    kind text not null default 'action',
    status text not null,
    latency_ms double precision,
    detail jsonb not null default '{}'
) partition by range (day);
create table health_results_default partition of health_results default;
create index health_results_target on health_results (target, at desc);

create table api_audit (
    org_id text not null,
    day date not null,
    id text not null,
    at timestamptz not null default now(),
    entry jsonb not null,
    primary key (org_id, day, id)
) partition by range (day);
create table api_audit_default partition of api_audit default;
create index api_audit_list on api_audit (org_id, at desc);

create function b3os_ensure_partitions(first_day date, ahead integer) returns integer language plpgsql as $$
declare
    parent text;
    d date;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('b3os_partitions'));
    foreach parent in array array['node_runs', 'health_results', 'api_audit'] loop
        for d in select generate_series(first_day, first_day + ahead, interval '1 day')::date loop
            continue when to_regclass(format('%I', parent || to_char(d, '_YYYYMMDD'))) is not null;
            begin
                execute format('create table %I partition of %I for values from (%L) to (%L)',
                    parent || to_char(d, '_YYYYMMDD'), parent, d, d + 1);
                made := made + 1;
            exception when check_violation then
                null; -- the default partition already has rows of that day: they stay there
            end;
        end loop;
    end loop;
    return made;
end $$;

create function b3os_drop_partitions(parent text, before date) returns integer language plpgsql as $$
declare
    child text;
    dropped integer := 0;
begin
    for child in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = to_regclass(format('%I', parent)) and c.relname ~ '_\d{8}$'
          and to_date(right(c.relname, 8), 'YYYYMMDD') < before
    loop
        execute format('drop table %I', child);
        dropped := dropped + 1;
    end loop;
    execute format('delete from %I where day < %L', parent || '_default', before);
    return dropped;
end $$;

select b3os_ensure_partitions((now() at time zone 'utc')::date, 2);

-- Row level security: the API's role sees the organization of its transaction, or nothing; the engine sees all.
do $$
declare
    t text;
begin
    foreach t in array array['organizations', 'members', 'api_keys', 'connectors', 'workflows',
        'workflow_versions', 'workflow_limits', 'triggers', 'runs', 'node_runs', 'receipts', 'timers', 'storage',
        'api_audit'] loop
        execute format('alter table %I enable row level security', t);
        execute format('alter table %I force row level security', t);
        execute format('create policy tenant on %I to b3os_app using (org_id = current_setting(''app.org_id'', true)) '
            'with check (org_id = current_setting(''app.org_id'', true))', t);
        execute format('create policy engine on %I to %I using (true) with check (true)', t, current_user);
        execute format('grant select, insert, update, delete on %I to b3os_app', t);
    end loop;
    execute 'alter table users enable row level security';
    execute 'alter table users force row level security';
    execute 'create policy tenant on users for select to b3os_app '
        'using (exists (select 1 from members m where m.user_id = users.id))';
    execute format('create policy engine on users to %I using (true) with check (true)', current_user);
end $$;
grant select (id, email, name, created_at) on users to b3os_app;
grant select on health_results, workers to b3os_app;
grant usage on sequence trigger_revisions to b3os_app;
do $$ begin execute format('grant usage on schema %I to b3os_app', current_schema()); end $$;
