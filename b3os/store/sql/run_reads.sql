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
with cancelled as (
    update runs set status = 'cancelled', epoch = epoch + 1, owner = null, finished_at = now()
    where org_id = $1 and id = $2 and status in ('running', 'waiting') returning org_id, id, workflow_id
), hooked as (
    -- Who is told that a run ended is told in the commit that ends it.
    insert into webhook_deliveries (org_id, id, workflow_id, run_id, url, headers, body, max_retries, endpoint_id,
        event_type)
    select o.org_id, 'whd_' || md5(h.id || o.id || k.kind), o.workflow_id, o.id, h.url,
        jsonb_build_object('content-type', 'application/json', 'x-b3os-event', k.kind),
        b3os_notice(o.org_id, o.workflow_id, o.id, k.kind, 'cancelled'), h.max_retries, h.id, k.kind
    from cancelled o join execution_webhooks h on h.org_id = o.org_id and h.disabled_at is null
        and coalesce(h.workflow_id, o.workflow_id) = o.workflow_id
    cross join lateral (select 'run.cancelled' as kind) k
    where k.kind = any(h.event_types)
    on conflict do nothing
)
select id from cancelled;
-- name: drop_timers
delete from timers where org_id = $1 and run_id = $2;
-- name: status
select status from runs where org_id = $1 and id = $2;
-- name: facts
-- Everything that says why a run does not move, read at one moment; results and inputs stay where they are.
select r.status, r.trigger_node, (extract(epoch from now()) * 1000)::bigint as now_ms,
    (extract(epoch from r.started_at) * 1000)::bigint as started_ms,
    (extract(epoch from r.finished_at) * 1000)::bigint as finished_ms, r.owner is not null as has_owner,
    r.queued_at is not null as is_queued,
    (select (extract(epoch from w.until) * 1000)::bigint from workers w where w.owner = r.owner) as owner_until_ms,
    (select count(*) from workers w where w.until > now()) as live_workers,
    (select coalesce(jsonb_agg(jsonb_build_object('node_id', t.node_id, 'path', t.path, 'kind', t.kind,
        'due_ms', (extract(epoch from t.due_at) * 1000)::bigint)), '[]')
        from timers t where t.org_id = r.org_id and t.run_id = r.id) as timers,
    (select coalesce(jsonb_agg(jsonb_build_object('node_id', n.node_id, 'path', n.path, 'type', n.type,
        'status', n.status, 'seq', n.seq, 'branch', n.branch, 'attempt', n.attempt, 'started_ms', n.started_ms,
        'finished_ms', n.finished_ms,
        'items', case when n.type = 'for-each' and jsonb_typeof(n.input -> 'array') = 'array'
            then jsonb_array_length(n.input -> 'array') end,
        'retry_ms', case when n.status = 'scheduled' then n.result -> 'retryAtMs' end,
        'error_code', coalesce(n.result -> 'error' ->> 'code', ''),
        'error_message', coalesce(left(n.result -> 'error' ->> 'message', 500), ''),
        'is_retryable', coalesce(n.result -> 'error' -> 'retryable', 'false')) order by n.seq), '[]')
        from node_runs n where n.org_id = r.org_id and n.run_id = r.id and n.day = r.day) as heads,
    coalesce(r.definition, v.definition) as definition
from runs r
left join workflow_versions v on v.org_id = r.org_id and v.workflow_id = r.workflow_id
    and v.version = r.workflow_version
where r.org_id = $1 and r.id = $2;
-- name: retry
insert into runs (org_id, id, workflow_id, workflow_version, trigger_node, trigger_source, trigger_result,
    triggered_by, definition, is_simulation, is_dust_test, source_run_id, started_at, day, queued_at, edited)
select org_id, $3, workflow_id, $6, trigger_node, 'retry', coalesce($7, trigger_result), $4, definition,
    is_simulation, is_dust_test, id, to_timestamp($5::bigint / 1000.0),
    (to_timestamp($5::bigint / 1000.0) at time zone 'utc')::date, case when b3os_room(org_id) > 0 then now() end,
    case when $9 then $8 else edited end
from runs where org_id = $1 and id = $2 and status = any($10)
on conflict do nothing returning id;
-- name: copy_records
insert into node_runs (org_id, run_id, day, node_id, path, final, seq, type, status, input, result, branch,
    started_ms, finished_ms, attempt)
select n.org_id, new.id, new.day, n.node_id, n.path, n.final, row_number() over (order by n.seq), n.type, n.status,
    n.input, n.result, n.branch, n.started_ms, n.finished_ms, n.attempt
from runs old
join node_runs n on n.org_id = old.org_id and n.run_id = old.id and n.day = old.day
join unnest($4::text[], $5::text[], $6::boolean[]) as k (node_id, path, final)
    on k.node_id = n.node_id and k.path = n.path and k.final = n.final
join runs new on new.org_id = old.org_id and new.id = $3
where old.org_id = $1 and old.id = $2;
