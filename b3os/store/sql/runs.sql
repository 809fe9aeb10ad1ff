-- Runs: claiming, group commit, sweeping. A worker holds a run while runs.owner has a live row in workers.
-- name: beat
insert into workers (owner, until) values ($1, now() + make_interval(secs => $2))
on conflict (owner) do update set until = excluded.until;
-- name: claim
with free as (
    select r.org_id, r.id from runs r
    where r.id = any($1) and r.status in ('running', 'waiting')
      and not exists (select 1 from workers w where w.owner = r.owner and w.until > now())
    order by r.id for update skip locked
)
update runs r set owner = $2, epoch = r.epoch + 1, shift = 0, woken = false, status = 'running',
    queued_at = coalesce(r.queued_at, now())
from free f where r.org_id = f.org_id and r.id = f.id
returning r.org_id, r.id, r.workflow_id, r.workflow_version, r.status, r.trigger_node, r.trigger_source,
    r.trigger_result, r.source_run_id, r.started_at, r.finished_at, r.epoch, r.definition, r.edited, r.variables;
-- name: renew
-- One statement: what was taken from us while our lease had lapsed shows in the next renewal, and no write of ours is accepted.
with beat as (
    insert into workers (owner, until) values ($1, now() + make_interval(secs => $2))
    on conflict (owner) do update set until = excluded.until
)
select org_id, id from runs where owner = $1 and status = 'running';
-- name: load_definition
select definition from workflow_versions where org_id = $1 and workflow_id = $2 and version = $3;
-- name: load_records
select n.seq, n.node_id, n.path, n.type, n.status, n.input, n.result, n.branch, n.started_ms, n.finished_ms,
    n.attempt
from runs r join node_runs n on n.org_id = r.org_id and n.run_id = r.id and n.day = r.day
where r.org_id = $1 and r.id = $2 order by n.seq;
-- name: commit
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::text[], $6::boolean[])
        as i (org_id, id, epoch, claims, status, release)
), beat as (
    insert into workers (owner, until) select $26, now() + make_interval(secs => $27) where $26 <> ''
    on conflict (owner) do update set until = excluded.until
), owned as (
    -- A run that nobody held is claimed by its first commit: of two who were given its task, one wins.
    select r.org_id, r.id, r.workflow_id, r.day, r.shift, r.epoch = 0 as is_new, w.status, w.release
    from runs r join wanted w on w.org_id = r.org_id and w.id = r.id
    where r.status in ('running', 'waiting')
        and r.epoch = case when w.claims then 0 else w.epoch end and (r.owner is null or not w.claims)
    order by r.org_id, r.id for update of r
), records as (
    insert into node_runs (org_id, run_id, day, node_id, path, final, seq, type, status, input, result, branch,
        started_ms, finished_ms, attempt)
    select o.org_id, o.id, o.day, n.node_id, n.path, n.status in ('success', 'failure', 'skipped'), n.seq + o.shift,
        n.type, n.status, n.input::jsonb, n.result::jsonb, n.branch, n.started_ms, n.finished_ms, n.attempt
    from unnest($7::text[], $8::text[], $9::int[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
        $15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::smallint[]) as n (org_id, run_id, seq, node_id,
        path, type, status, input, result, branch, started_ms, finished_ms, attempt)
    join owned o on o.org_id = n.org_id and o.id = n.run_id
    -- The first end of a node is its end; the next attempt of a scheduled node takes the place of the last.
    on conflict (org_id, run_id, day, node_id, path, final) do update set seq = excluded.seq, status = excluded.status,
        result = excluded.result, attempt = excluded.attempt
        where not excluded.final and node_runs.attempt < excluded.attempt
), timed as (
    insert into timers (org_id, run_id, node_id, path, kind, due_at)
    select o.org_id, o.id, t.node_id, t.path, t.kind, now() + make_interval(secs => t.wake_in_ms / 1000.0)
    from unnest($20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::bigint[])
        as t (org_id, run_id, node_id, path, kind, wake_in_ms)
    join owned o on o.org_id = t.org_id and o.id = t.run_id
    on conflict (org_id, run_id, node_id, path) do update set due_at = excluded.due_at where timers.kind = 'retry'
), ended as (
    delete from timers t using owned o
    where t.org_id = o.org_id and t.run_id = o.id and o.status in ('success', 'partial', 'failure', 'cancelled')
    returning t.org_id, t.run_id, t.node_id, t.path, t.kind
), unwatched as (
    update triggers t set active = false, active_since = now(), revision = nextval('trigger_revisions'),
        xid = pg_current_xact_id()
    from ended e where e.kind like 'wait%' and t.org_id = e.org_id and t.wait_run_id = e.run_id
        and t.wait_node_id = e.node_id and t.wait_path = e.path and t.active
), moved as (
    update runs r set
        status = case when o.status = 'waiting' and r.woken then 'running' else coalesce(o.status, r.status) end,
        owner = case when o.release or o.status in ('success', 'partial', 'failure', 'cancelled') then null
            when o.is_new then $26 else r.owner end,
        epoch = case when o.is_new then 1 else r.epoch end,
        queued_at = case when o.is_new then coalesce(r.queued_at, now()) else r.queued_at end,
        finished_at = case when o.status in ('success', 'partial', 'failure', 'cancelled') then now()
            else r.finished_at end
    from owned o where r.org_id = o.org_id and r.id = o.id and (o.is_new or o.release or o.status is not null)
), hooked as (
    -- Who is told that a run ended is told in the commit that ends it.
    insert into webhook_deliveries (org_id, id, workflow_id, run_id, url, headers, body, max_retries, endpoint_id,
        event_type)
    select o.org_id, 'whd_' || md5(h.id || o.id || k.kind), o.workflow_id, o.id, h.url,
        jsonb_build_object('content-type', 'application/json', 'x-b3os-event', k.kind),
        b3os_notice(o.org_id, o.workflow_id, o.id, k.kind, o.status), h.max_retries, h.id, k.kind
    from owned o join execution_webhooks h on h.org_id = o.org_id and h.disabled_at is null
        and coalesce(h.workflow_id, o.workflow_id) = o.workflow_id
    cross join lateral (select case o.status when 'success' then 'run.completed' when 'partial' then 'run.completed'
        when 'failure' then 'run.failed' when 'cancelled' then 'run.cancelled' end as kind) k
    where k.kind = any(h.event_types)
    on conflict do nothing
)
select org_id, id, shift from owned;
-- name: complete
with run as (
    select r.org_id, r.id, r.day, (select coalesce(max(n.seq), 0) from node_runs n
        where n.org_id = r.org_id and n.run_id = r.id and n.day = r.day) as last
    from runs r where r.org_id = $1 and r.id = $2 and r.status in ('running', 'waiting')
), done as (
    insert into node_runs (org_id, run_id, day, node_id, path, final, seq, type, status, input, result, branch,
        started_ms, finished_ms)
    select w.org_id, w.run_id, w.day, w.node_id, w.path, true, run.last + 1, w.type, $7, w.input, $5, $6,
        w.started_ms, (extract(epoch from clock_timestamp()) * 1000)::bigint
    from run join node_runs w on w.org_id = run.org_id and w.run_id = run.id and w.day = run.day
        and w.node_id = $3 and w.path = $4 and not w.final and w.status = 'waiting'
    on conflict do nothing returning org_id, run_id
), timed as (
    delete from timers where org_id = $1 and run_id = $2 and node_id = $3 and path = $4
), unwatched as (
    update triggers t set active = false, active_since = now(), revision = nextval('trigger_revisions'),
        xid = pg_current_xact_id()
    from done d where t.org_id = d.org_id and t.wait_run_id = d.run_id and t.wait_node_id = $3 and t.wait_path = $4
        and t.active
)
update runs r set status = 'running', woken = true, shift = r.shift + 1,
    queued_at = case when r.owner is not null then r.queued_at when b3os_room(r.org_id) > 0 then now() end
from done d where r.org_id = d.org_id and r.id = d.run_id
returning r.queued_at is not null and r.owner is null as is_queued, r.trigger_source as source;
-- name: answers
-- What the store completed of the nodes that a worker knows as waiting.
select n.seq, n.node_id, n.path, n.type, n.status, n.input, n.result, n.branch, n.started_ms, n.finished_ms,
    n.attempt
from runs r join node_runs n on n.org_id = r.org_id and n.run_id = r.id and n.day = r.day and n.final
join unnest($3::text[], $4::text[]) as w (node_id, path) on w.node_id = n.node_id and w.path = n.path
where r.org_id = $1 and r.id = $2 order by n.seq;
-- name: wake
with timed as (
    delete from timers where org_id = $1 and run_id = $2 and node_id = $3 and path = $4
)
update runs r set status = 'running', woken = true,
    queued_at = case when r.owner is not null then r.queued_at when b3os_room(r.org_id) > 0 then now() end
where org_id = $1 and id = $2 and status in ('running', 'waiting')
returning r.queued_at is not null and r.owner is null as is_queued, r.trigger_source as source;
-- name: lock_run
select status from runs where org_id = $1 and id = $2 for update;
