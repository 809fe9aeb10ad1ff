-- Received webhook calls, a bounded number for each organization, and the secret that was valid before a rotation.
-- Adds two columns without a default (a catalog change) and a table: it waits for no long lock.
set local lock_timeout = '5s';

alter table workflows add column old_secret text, add column old_secret_until timestamptz;
create unique index workflows_old_secret on workflows (old_secret) where old_secret is not null;

create table webhook_calls (
    org_id text not null,
    id text not null,
    workflow_id text not null,
    node_id text not null,
    received_at timestamptz not null default now(),
    status text not null,
    reason text not null default '',
    run_id text,
    headers jsonb not null,
    body bytea,
    size integer not null,
    primary key (org_id, id)
);
create index webhook_calls_list on webhook_calls (org_id, workflow_id, id desc);

do $$ begin
    execute 'alter table webhook_calls enable row level security';
    execute 'alter table webhook_calls force row level security';
    execute 'create policy tenant on webhook_calls to b3os_app using (org_id = current_setting(''app.org_id'', true)) '
        'with check (org_id = current_setting(''app.org_id'', true))';
    execute format('create policy engine on webhook_calls to %I using (true) with check (true)', current_user);
    execute 'grant select, insert, update, delete on webhook_calls to b3os_app';
end $$;
