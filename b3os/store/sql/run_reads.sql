-- Runs as the API shows and starts them; every statement names the organization.
-- name: get
select r.org_id, r.id, r.workflow_id, r.workflow_version, r.status, r.trigger_node, r.trigger_source,
    r.trigger_result, r.source_run_id, r.started_at, r.finished_at, r.epoch, r.triggered_by, r.is_simulation,
    r.is_dust_test, coalesce(r.definition, v.definition) as definition, coalesce(w.name, '') as workflow_name,
    r.queued_at is not null as is_queued
from runs r
left join workflow_versions v on v.org_id = r.org_id and v.workflow_id = r.workflow_id
    and v.version = r.workflow_version
left join workflows w on w.org_id = r.org_id and w.id = r.workflow_id
where r.org_id = $1 and r.id = $2;
-- name: list
select r.org_id, r.id, r.workflow_id, r.workflow_version, r.status, r.trigger_node, r.trigger_source,
    r.source_run_id, r.started_at, r.finished_at, r.triggered_by, r.is_simulation, r.is_dust_test,
    coalesce(w.name, '') as workflow_name
from runs r left join workflows w on w.org_id = r.org_id and w.id = r.workflow_id
where r.org_id = $1 and ($2::text is null or r.workflow_id = $2) and ($3::text[] is null or r.status = any($3))
order by r.started_at desc, r.id limit $4 offset $5;
-- name: create
insert into runs (org_id, id, workflow_id, workflow_version, trigger_node, trigger_source, trigger_result,
    triggered_by, definition, is_simulation, is_dust_test, source_run_id, started_at, day, queued_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, to_timestamp($13::bigint / 1000.0),
    (to_timestamp($13::bigint / 1000.0) at time zone 'utc')::date, case when b3os_room($1) > 0 then now() end)
on conflict do nothing returning queued_at is not null;
-- name: cancel
update runs set status = 'cancelled', epoch = epoch + 1, owner = null, finished_at = now()
where org_id = $1 and id = $2 and status in ('running', 'waiting') returning id;
-- name: drop_timers
delete from timers where org_id = $1 and run_id = $2;
-- name: status
select status from runs where org_id = $1 and id = $2;
-- name: retry
insert into runs (org_id, id, workflow_id, workflow_version, trigger_node, trigger_source, trigger_result,
    triggered_by, definition, is_simulation, is_dust_test, source_run_id, started_at, day, queued_at)
select org_id, $3, workflow_id, workflow_version, trigger_node, 'retry', trigger_result, $4, definition,
    is_simulation, is_dust_test, id, to_timestamp($5::bigint / 1000.0),
    (to_timestamp($5::bigint / 1000.0) at time zone 'utc')::date, case when b3os_room(org_id) > 0 then now() end
from runs where org_id = $1 and id = $2 and status in ('failure', 'partial', 'cancelled')
on conflict do nothing returning id;
-- name: copy_records
insert into node_runs (org_id, run_id, day, node_id, path, final, seq, type, status, input, result, branch,
    started_ms, finished_ms)
select n.org_id, new.id, new.day, n.node_id, n.path, true, row_number() over (order by n.seq), n.type, n.status,
    n.input, n.result, n.branch, n.started_ms, n.finished_ms
from runs old
join node_runs n on n.org_id = old.org_id and n.run_id = old.id and n.day = old.day and n.status = 'success'
join runs new on new.org_id = old.org_id and new.id = $3
where old.org_id = $1 and old.id = $2;
-- name: count_by_status
select status, count(*) as total from runs
where org_id = $1 and ($2::text is null or workflow_id = $2) and started_at >= $3 group by status;
