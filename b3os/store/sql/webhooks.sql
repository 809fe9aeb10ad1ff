-- Inbound calls: whose address it is, what was received, rotation of the secret in the address.
-- name: by_secret
-- The trigger nodes behind an address; a node that is paused is there too, so that its calls are checked and told.
select w.org_id, w.id, w.live_version, t.node_id, t.type, t.payload
from workflows w
join triggers t on t.org_id = w.org_id and t.workflow_id = w.id and t.version = w.live_version
    and t.wait_run_id is null
where (w.trigger_secret = $1 or (w.old_secret = $1 and w.old_secret_until > now())) and w.status <> 'archived'
order by t.node_id;
-- name: of_workflow
select w.org_id, w.id, w.live_version, t.node_id, t.type, t.payload
from workflows w
join triggers t on t.org_id = w.org_id and t.workflow_id = w.id and t.version = w.live_version
    and t.wait_run_id is null
where w.org_id = $1 and w.id = $2 and w.status <> 'archived' order by t.node_id;
-- name: of_type
select t.org_id, t.workflow_id, t.version, t.node_id, t.type, t.payload
from triggers t where t.org_id = $1 and t.type = $2 and t.active and t.wait_run_id is null
order by t.workflow_id, t.node_id limit $3;
-- name: add_calls
insert into webhook_calls (org_id, id, workflow_id, node_id, status, reason, run_id, headers, body, size)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::jsonb[],
    $9::bytea[], $10::int[]);
-- name: prune_calls
-- Refused calls are counted apart: whoever sends garbage must not push out what was received.
delete from webhook_calls c using (
    select id from (
        select id, row_number() over (partition by status = 'refused' order by id desc) as place, status
        from webhook_calls where org_id = $1
    ) numbered where place > case when status = 'refused' then $3::int else $2::int end
) old where c.org_id = $1 and c.id = old.id;
-- name: list_calls
select org_id, id, workflow_id, node_id, received_at, status, reason, run_id, headers, body, size from webhook_calls
where org_id = $1 and workflow_id = $2 order by id desc limit $3 offset $4;
-- name: get_call
select org_id, id, workflow_id, node_id, received_at, status, reason, run_id, headers, body, size from webhook_calls
where org_id = $1 and workflow_id = $2 and id = $3;
-- name: has_other_body
-- Equal as JSON: neither spaces nor the order of members count.
select exists (select 1 from runs where org_id = $1 and id = $2
    and trigger_result -> 'body' is distinct from $3::jsonb -> 'body');
-- name: rotate
update workflows set old_secret = case when $4::float8 > 0 then trigger_secret end,
    old_secret_until = case when $4 > 0 then now() + make_interval(secs => $4) end,
    trigger_secret = $3, updated_by = $5, updated_at = now()
where org_id = $1 and id = $2 and trigger_secret is not null and status <> 'archived'
returning old_secret_until;
-- name: rotate_triggers
update triggers set secret = $3, revision = nextval('trigger_revisions'), xid = pg_current_xact_id()
where org_id = $1 and workflow_id = $2;
