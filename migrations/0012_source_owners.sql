-- A source that reads with an organization's credential is that organization's: others do not see how it fares.
-- Adds a column with a constant default (a catalog change): it waits for no long lock.
set local lock_timeout = '5s';

alter table source_states add column org_id text not null default '';
alter table source_states enable row level security;
alter table source_states force row level security;
create policy tenant on source_states for select to b3os_app
    using (org_id = '' or org_id = current_setting('app.org_id', true));
do $$ begin
    execute format('create policy engine on source_states to %I using (true) with check (true)', current_user);
end $$;
