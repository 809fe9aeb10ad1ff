-- Fairness between organizations: how many runs of each may be in the queue or with workers; the rest wait in here.
set local lock_timeout = '5s';

-- Since when a run is in the queue's hands; null while it waits for room in its organization's window.
alter table runs add column queued_at timestamptz;
-- At most so many runs of an organization are queued or held at once; null is the house's 500.
alter table organizations add column run_window integer check (run_window > 0);

create index runs_waiting on runs (org_id, started_at) where status = 'running' and queued_at is null;
create index runs_handed on runs (org_id) where status = 'running' and queued_at is not null;
create index runs_unheld on runs (org_id, queued_at)
    where status = 'running' and queued_at is not null and owner is null;

-- How many more runs of an organization may be handed over now. Admissions that commit at the same moment do not see
-- each other: the window may be passed by what they add.
create function b3os_room(org text) returns integer language sql stable as $$
    select greatest(0, w.size - (select count(*) from (
        select 1 from runs r where r.org_id = org and r.status = 'running' and r.queued_at is not null limit w.size
    ) handed))::integer
    from (select coalesce((select o.run_window from organizations o where o.org_id = org), 500) as size) w
$$;
