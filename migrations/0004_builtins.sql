-- What built-in nodes keep: variables, organization storage and webhook deliveries; and the waits that a trigger ends.
set local lock_timeout = '5s';

-- Values of persistent variables; a run takes a snapshot of them when it begins (runs.variables).
create table variables (
    org_id text not null,
    workflow_id text not null,
    name text not null,
    value jsonb,
    updated_at timestamptz not null default now(),
    primary key (org_id, workflow_id, name)
);
alter table runs add column variables jsonb;

create table org_storage (
    org_id text not null,
    store text not null default 'default',
    key text not null,
    value jsonb,
    updated_at timestamptz not null default now(),
    primary key (org_id, store, key)
);

-- The log of send-webhook, and what is still to be sent. Secret headers are encrypted.
create table webhook_deliveries (
    org_id text not null,
    id text not null,
    workflow_id text not null default '',
    run_id text not null default '',
    node_id text not null default '',
    url text not null,
    method text not null default 'POST',
    headers jsonb not null default '{}',
    secret_headers bytea,
    body bytea not null default '',
    status text not null default 'pending' check (status in ('pending', 'retrying', 'success', 'failure')),
    retry_count integer not null default 0,
    max_retries integer not null,
    next_retry_at timestamptz default now(),
    claimed_until timestamptz,
    response_status integer,
    response_headers jsonb,
    response_body text,
    error_message text,
    duration_ms integer,
    replay_of text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (org_id, id)
);
create index webhook_deliveries_due on webhook_deliveries (next_retry_at) where status in ('pending', 'retrying');
create index webhook_deliveries_list on webhook_deliveries (org_id, created_at desc, id);
create index webhook_deliveries_age on webhook_deliveries (updated_at) where status in ('success', 'failure');

-- A waiting node that an event ends is a row of the change feed of its own, named by what it completes.
alter table triggers add column wait_run_id text, add column wait_node_id text, add column wait_path text;
create index triggers_waits on triggers (org_id, wait_run_id) where wait_run_id is not null;

-- PostgreSQL keeps values over 2 kB outside the row anyway; compressing them first made a write 3 to 4 times dearer.
alter table node_runs alter column input set storage external, alter column result set storage external;

do $$
declare
    t text;
begin
    foreach t in array array['variables', 'org_storage', 'webhook_deliveries'] loop
        execute format('alter table %I enable row level security', t);
        execute format('alter table %I force row level security', t);
        execute format('create policy tenant on %I to b3os_app using (org_id = current_setting(''app.org_id'', true)) '
            'with check (org_id = current_setting(''app.org_id'', true))', t);
        execute format('create policy engine on %I to %I using (true) with check (true)', t, current_user);
        execute format('grant select, insert, update, delete on %I to b3os_app', t);
    end loop;
end $$;
