-- Chain events that started runs, until they are final or gone.
-- name: add
insert into trigger_notices (org_id, run_id, source, block, block_hash, tx, state, settled_at)
select i.org_id, i.run_id, $1, i.block, i.block_hash, i.tx, $2, case when $2 = 'pending' then null else now() end
from unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) as i (org_id, run_id, block, block_hash, tx)
order by 1, 2
on conflict (org_id, run_id) do nothing;
-- name: move
-- The event of a run was seen again, perhaps elsewhere.
update trigger_notices n set block = i.block, block_hash = i.block_hash
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) as i (org_id, run_id, block, block_hash)
where n.org_id = i.org_id and n.run_id = i.run_id and n.state = 'pending' and n.block_hash <> i.block_hash;
-- name: pending
select org_id, run_id, block, block_hash, tx from trigger_notices
where source = $1 and state = 'pending' and block <= $2 order by block, run_id limit $3;
-- name: settle
-- A removed event that a later block brought back is final after all; nothing else leaves a state that is final.
with told as (
    update trigger_notices n set state = i.state, settled_at = now()
    from unnest($1::text[], $2::text[], $3::text[]) as i (org_id, run_id, state)
    where n.org_id = i.org_id and n.run_id = i.run_id
      and (n.state = 'pending' or n.state = 'removed' and i.state = 'finalized')
    returning n.org_id, n.run_id, n.state
), known as (
    select t.org_id, t.run_id as id, t.state, r.workflow_id, r.status
    from told t join runs r on r.org_id = t.org_id and r.id = t.run_id
), hooked as (
    -- Who is told what became of the event is told in the commit that decides it.
    insert into webhook_deliveries (org_id, id, workflow_id, run_id, url, headers, body, max_retries, endpoint_id,
        event_type)
    select o.org_id, 'whd_' || md5(h.id || o.id || k.kind), o.workflow_id, o.id, h.url,
        jsonb_build_object('content-type', 'application/json', 'x-b3os-event', k.kind),
        b3os_notice(o.org_id, o.workflow_id, o.id, k.kind, o.status), h.max_retries, h.id, k.kind
    from known o join execution_webhooks h on h.org_id = o.org_id and h.disabled_at is null
        and coalesce(h.workflow_id, o.workflow_id) = o.workflow_id
    cross join lateral (select 'event.' || o.state as kind) k
    where k.kind = any(h.event_types)
    on conflict do nothing
)
select org_id, id as run_id, state, workflow_id from known order by id;
-- name: of_run
select state, block, block_hash, settled_at from trigger_notices where org_id = $1 and run_id = $2;
