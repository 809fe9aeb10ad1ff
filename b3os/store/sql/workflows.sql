-- Workflows, their immutable versions, and the trigger rows that publishing writes.
-- name: create
insert into workflows (org_id, id, name, description, type, cooldown_ms, max_runs, ui_metadata, created_by, updated_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9);
-- name: add_version
insert into workflow_versions (org_id, workflow_id, version, name, definition, created_by)
values ($1, $2, $3, $4, $5, $6);
-- name: get
select w.org_id, w.id, w.name, w.description, w.status, w.type, w.version, w.live_version, w.cooldown_ms, w.max_runs,
    case when l.workflow_id is null then w.max_runs else l.remain_runs end as remain_runs, w.paused_reason,
    w.visibility, w.trigger_secret, w.ui_metadata, w.created_by, w.updated_by, w.created_at, w.updated_at,
    greatest(w.last_run_at, (select max(r.started_at) from runs r where r.org_id = w.org_id and r.workflow_id = w.id))
        as last_triggered_at,
    v.version as shown_version, v.definition, v.created_by as version_created_by
from workflows w
join workflow_versions v on v.org_id = w.org_id and v.workflow_id = w.id and v.version = coalesce($3::int, w.version)
left join workflow_limits l on l.org_id = w.org_id and l.workflow_id = w.id
where w.org_id = $1 and w.id = $2;
-- name: list
select w.org_id, w.id, w.name, w.description, w.status, w.type, w.version, w.live_version, w.cooldown_ms, w.max_runs,
    case when l.workflow_id is null then w.max_runs else l.remain_runs end as remain_runs, w.paused_reason,
    w.visibility, w.trigger_secret, w.ui_metadata, w.created_by, w.updated_by, w.created_at, w.updated_at,
    greatest(w.last_run_at, (select max(r.started_at) from runs r where r.org_id = w.org_id and r.workflow_id = w.id))
        as last_triggered_at,
    v.version as shown_version, v.definition, v.created_by as version_created_by
from workflows w
join workflow_versions v on v.org_id = w.org_id and v.workflow_id = w.id and v.version = w.version
left join workflow_limits l on l.org_id = w.org_id and l.workflow_id = w.id
where w.org_id = $1 and case when $2::text[] is null then w.status <> 'archived' else w.status = any($2) end
  and ($3::text is null or strpos(lower(w.name), lower($3)) > 0)
order by w.updated_at desc, w.id limit $4 offset $5;
-- name: lock
select version, live_version, status, trigger_secret, cooldown_ms, max_runs, name from workflows
where org_id = $1 and id = $2 for update;
-- name: update
update workflows set name = coalesce($3, name), description = coalesce($4, description),
    cooldown_ms = coalesce($5, cooldown_ms), max_runs = coalesce($6, max_runs), ui_metadata = coalesce($7, ui_metadata),
    version = $8, type = coalesce($10, type), updated_by = $9, updated_at = now() where org_id = $1 and id = $2;
-- name: same_definition
select definition = $4::jsonb from workflow_versions where org_id = $1 and workflow_id = $2 and version = $3;
-- name: activate
update workflows set status = 'active', live_version = version, paused_reason = null, trigger_secret = $3,
    updated_by = $4, updated_at = now() where org_id = $1 and id = $2;
-- name: mark_published
update workflow_versions set published_at = now() where org_id = $1 and workflow_id = $2 and version = $3;
-- name: set_status
update workflows set status = $3, paused_reason = $4, updated_by = $5, updated_at = now(),
    live_version = case when $3 = 'archived' then null else live_version end where org_id = $1 and id = $2;
-- name: drop_triggers
update triggers set active = false, revision = nextval('trigger_revisions'), xid = pg_current_xact_id()
where org_id = $1 and workflow_id = $2 and active and not (node_id = any($3)) and wait_run_id is null;
-- Another channel, mailbox, market or user has another past: what it held before a trigger turned to it never fires it.
-- name: put_triggers
insert into triggers (org_id, workflow_id, node_id, version, type, payload, pattern, secret, cooldown_ms, max_runs)
select $1, $2, i.node_id, $3, i.type, i.payload::jsonb, i.pattern, $4, $5, $6
from unnest($7::text[], $8::text[], $9::text[], $10::bytea[]) as i (node_id, type, payload, pattern)
on conflict (org_id, workflow_id, node_id) do update set version = excluded.version, type = excluded.type,
    payload = excluded.payload, pattern = excluded.pattern, secret = excluded.secret, cooldown_ms = excluded.cooldown_ms,
    max_runs = excluded.max_runs, active = true,
    active_since = case when triggers.active and triggers.type = excluded.type
            and (triggers.payload -> 'connector', triggers.payload -> 'channelId', triggers.payload -> 'botToken',
                triggers.payload -> 'marketId', triggers.payload -> 'user')
            is not distinct from (excluded.payload -> 'connector', excluded.payload -> 'channelId', excluded.payload -> 'botToken',
                excluded.payload -> 'marketId', excluded.payload -> 'user')
        then triggers.active_since else now() end,
    revision = nextval('trigger_revisions'), xid = pg_current_xact_id();
-- name: forget_problems
delete from trigger_problems where org_id = $1 and workflow_id = $2;
-- name: wake_triggers
update triggers set active = true, active_since = now(), revision = nextval('trigger_revisions'),
    xid = pg_current_xact_id()
where org_id = $1 and workflow_id = $2 and version = $3 and not active and wait_run_id is null;
-- name: put_limits
insert into workflow_limits as l (org_id, workflow_id, cooldown_ms, remain_runs) values ($1, $2, $3, $4)
on conflict (org_id, workflow_id) do update set cooldown_ms = excluded.cooldown_ms,
    remain_runs = case when $5 then excluded.remain_runs else l.remain_runs end;
-- name: refill
update workflow_limits set remain_runs = $3 where org_id = $1 and workflow_id = $2;
-- name: remaining
select remain_runs from workflow_limits where org_id = $1 and workflow_id = $2;
-- name: versions
select version, name, created_by, created_at, published_at from workflow_versions
where org_id = $1 and workflow_id = $2 order by version desc limit $3 offset $4;
