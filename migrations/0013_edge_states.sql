-- Triggers on a chain's state: which have fired, and in which blocks that can still change.
set local lock_timeout = '5s';

-- `mark` says what the state belongs to: the trigger's start, call and condition. A row with another says nothing.
create table edge_states (
    org_id text not null,
    workflow_id text not null,
    node_id text not null,
    source text not null,
    mark text not null,
    state jsonb not null,
    primary key (org_id, workflow_id, node_id)
);
alter table edge_states enable row level security;
alter table edge_states force row level security;
create policy tenant on edge_states to b3os_app using (org_id = current_setting('app.org_id', true))
    with check (org_id = current_setting('app.org_id', true));
do $$ begin
    execute format('create policy engine on edge_states to %I using (true) with check (true)', current_user);
end $$;
