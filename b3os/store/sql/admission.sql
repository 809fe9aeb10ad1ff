-- Accepting triggers. `open` does all for workflows without limits; the others come back as `limited`.
-- name: open
with input as (
    select * from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bytea[], $6::text[], $7::text[],
        $8::jsonb[], $9::bigint[]) with ordinality
        as i (org_id, workflow_id, version, node_id, key, run_id, source, result, now_ms, ord)
), state as (
    select i.*, w.status, w.paused_reason, l.workflow_id is not null as limited
    from input i
    left join workflows w on w.org_id = i.org_id and w.id = i.workflow_id
    left join workflow_limits l on l.org_id = i.org_id and l.workflow_id = i.workflow_id
), fresh as (
    insert into receipts (org_id, key, workflow_id, run_id)
    select org_id, key, workflow_id, run_id from state where status = 'active' and not limited order by org_id, key
    on conflict do nothing returning org_id, key
), room as materialized (
    select org_id, b3os_room(org_id) as room from (select distinct org_id from fresh) o
), made as (
    insert into runs (org_id, id, workflow_id, workflow_version, trigger_node, trigger_source, trigger_result,
        started_at, day, queued_at)
    select org_id, run_id, workflow_id, version, node_id, source, result, to_timestamp(now_ms / 1000.0),
        (to_timestamp(now_ms / 1000.0) at time zone 'utc')::date,
        case when row_number() over (partition by org_id order by ord) <= room.room then now() end
    from state join fresh using (org_id, key) join room using (org_id)
    returning org_id, id, queued_at is not null as is_queued
)
select s.ord, case when s.status is distinct from 'active'
        then case when s.paused_reason = 'max_runs_exhausted' then 'exhausted' else 'inactive' end
    when s.limited then 'limited' when f.key is not null then 'accepted' else 'duplicate' end as status,
    coalesce(m.is_queued, false) as is_queued
from state s left join fresh f using (org_id, key) left join made m on m.org_id = s.org_id and m.id = s.run_id
order by s.ord;
-- name: lock_limits
select l.org_id, l.workflow_id, l.cooldown_ms, l.remain_runs, l.last_ms, w.status
from workflow_limits l join workflows w on w.org_id = l.org_id and w.id = l.workflow_id
where (l.org_id, l.workflow_id) in (select * from unnest($1::text[], $2::text[]))
order by l.org_id, l.workflow_id for update of l;
-- name: receipts
select org_id, key, run_id from receipts where (org_id, key) in (select * from unnest($1::text[], $2::bytea[]));
-- name: add_receipts
insert into receipts (org_id, key, workflow_id, run_id)
select * from unnest($1::text[], $2::bytea[], $3::text[], $4::text[]);
-- name: add_runs
with input as (
    select * from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bytea[], $6::text[], $7::text[],
        $8::jsonb[], $9::bigint[]) with ordinality
        as i (org_id, workflow_id, version, node_id, key, run_id, source, result, now_ms, ord)
), room as materialized (
    select org_id, b3os_room(org_id) as room from (select distinct org_id from input) o
)
insert into runs (org_id, id, workflow_id, workflow_version, trigger_node, trigger_source, trigger_result,
    started_at, day, queued_at)
select org_id, run_id, workflow_id, version, node_id, source, result, to_timestamp(now_ms / 1000.0),
    (to_timestamp(now_ms / 1000.0) at time zone 'utc')::date,
    case when row_number() over (partition by org_id order by ord) <= room.room then now() end
from input join room using (org_id)
returning id, queued_at is not null as is_queued;
-- name: save_limits
update workflow_limits l set remain_runs = i.remain_runs, last_ms = i.last_ms
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) as i (org_id, workflow_id, remain_runs, last_ms)
where l.org_id = i.org_id and l.workflow_id = i.workflow_id;
-- name: pause_exhausted
with paused as (
    update workflows w set status = 'paused', paused_reason = 'max_runs_exhausted', updated_at = now()
    from unnest($1::text[], $2::text[]) as i (org_id, workflow_id)
    where w.org_id = i.org_id and w.id = i.workflow_id and w.status = 'active'
    returning w.org_id, w.id
)
update triggers t set active = false, revision = nextval('trigger_revisions'), xid = pg_current_xact_id()
from paused p where t.org_id = p.org_id and t.workflow_id = p.id and t.active and t.wait_run_id is null;
