-- Waits that an event ends: rows of the triggers' change feed that name the node they complete. One is dropped
-- (inactive, with a new revision) when its node is completed or its run ends, and deleted an hour later.
-- name: add_waits
insert into triggers (org_id, workflow_id, node_id, version, type, payload, wait_run_id, wait_node_id, wait_path)
select r.org_id, r.workflow_id, 'wait:' || r.id || ':' || w.path || ':' || w.node_id, r.workflow_version, w.type,
    w.payload::jsonb, r.id, w.node_id, w.path
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    as w (org_id, run_id, node_id, path, type, payload)
join runs r on r.org_id = w.org_id and r.id = w.run_id
order by 1, 2, 3
on conflict (org_id, workflow_id, node_id) do nothing;
-- name: drop_waits_of_run
update triggers set active = false, active_since = now(), revision = nextval('trigger_revisions'),
    xid = pg_current_xact_id()
where org_id = $1 and wait_run_id = $2 and active;
-- name: is_closed
-- Whether an answer comes too late, or what waits there is no wait at all.
select coalesce(bool_or(kind not like 'wait%' or due_at <= clock_timestamp()), false) from timers
where org_id = $1 and run_id = $2 and node_id = $3 and path = $4;
-- name: remove_waits
with gone as (
    delete from triggers
    where wait_run_id is not null and not active and active_since < now() - interval '1 hour' returning 1
)
select count(*) from gone;
