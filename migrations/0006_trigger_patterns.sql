-- What a master needs of a trigger, compiled when it is published; and what masters found wrong with stored triggers.
set local lock_timeout = '5s';
alter table triggers add column pattern bytea not null default '';

-- Who changes a payload and not its pattern (an older process, a person) must not leave a pattern that no longer fits.
create function b3os_pattern_fits() returns trigger language plpgsql as $$
begin
    if new.pattern = old.pattern and (new.type, new.payload) is distinct from (old.type, old.payload) then
        new.pattern = '';
    end if;
    return new;
end $$;
create trigger triggers_pattern_fits before update of type, payload on triggers
    for each row when (old.pattern <> '') execute function b3os_pattern_fits();

create table trigger_problems (
    org_id text not null,
    workflow_id text not null,
    node_id text not null,
    reason text not null,
    message text not null,
    found_at timestamptz not null default now(),
    primary key (org_id, workflow_id, node_id)
);
alter table trigger_problems enable row level security;
alter table trigger_problems force row level security;
create policy tenant on trigger_problems to b3os_app using (org_id = current_setting('app.org_id', true))
    with check (org_id = current_setting('app.org_id', true));
do $$ begin
    execute format('create policy engine on trigger_problems to %I using (true) with check (true)', current_user);
end $$;
grant select, delete on trigger_problems to b3os_app;
