-- Addresses of an organization that are told how its runs end and what becomes of the events that began them; what they
-- are told are deliveries like those of send-webhook.
-- Adds a table, and columns with constant defaults (a catalog change): it waits for no long lock.
set local lock_timeout = '5s';

create table execution_webhooks (
    org_id text not null,
    id text not null,
    name text not null,
    url text not null,
    description text not null default '',
    event_types text[] not null,
    workflow_id text,
    max_retries integer not null,
    secret bytea not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    disabled_at timestamptz,
    primary key (org_id, id)
);

alter table webhook_deliveries add column endpoint_id text not null default '',
    add column event_type text not null default 'send-webhook';

-- What an address is told of a run: no data of the run, since whoever may read it can ask for it.
create function b3os_notice(org text, workflow text, run text, kind text, status text) returns bytea
    language sql stable as $$
    select convert_to(jsonb_build_object('eventId', 'evt_' || md5(run || ':' || kind), 'type', kind,
        'organizationId', org, 'workflowId', workflow, 'runId', run, 'status', status,
        'timestamp', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))::text, 'UTF8')
$$;

do $$ begin
    execute 'alter table execution_webhooks enable row level security';
    execute 'alter table execution_webhooks force row level security';
    execute 'create policy tenant on execution_webhooks to b3os_app '
        'using (org_id = current_setting(''app.org_id'', true)) '
        'with check (org_id = current_setting(''app.org_id'', true))';
    execute format('create policy engine on execution_webhooks to %I using (true) with check (true)', current_user);
    execute 'grant select, insert, update, delete on execution_webhooks to b3os_app';
end $$;
