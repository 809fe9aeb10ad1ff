-- What became of the chain events that started runs: still open to a fork, final, or taken away by one.
set local lock_timeout = '5s';
create table trigger_notices (
    org_id text not null,
    run_id text not null,
    source text not null,
    block bigint not null,
    block_hash text not null,
    tx text not null default '',
    state text not null default 'pending' check (state in ('pending', 'finalized', 'removed')),
    settled_at timestamptz,
    primary key (org_id, run_id),
    foreign key (org_id, run_id) references runs (org_id, id) on delete cascade
) with (fillfactor = 80);
create index trigger_notices_pending on trigger_notices (source, block) where state = 'pending';

-- How every source of the masters fares, told by whoever holds it, every few seconds.
create table source_states (
    source text primary key,
    holder text not null,
    lag text not null default '',
    error text not null default '',
    error_at timestamptz,
    detail jsonb not null default '{}',
    told_at timestamptz not null default now()
);
grant select on source_states to b3os_app;

alter table trigger_notices enable row level security;
alter table trigger_notices force row level security;
create policy tenant on trigger_notices to b3os_app using (org_id = current_setting('app.org_id', true))
    with check (org_id = current_setting('app.org_id', true));
do $$ begin
    execute format('create policy engine on trigger_notices to %I using (true) with check (true)', current_user);
end $$;
grant select on trigger_notices to b3os_app;
