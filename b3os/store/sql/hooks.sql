-- Execution webhooks: who is told how runs end, and what becomes of the events that began them.
-- name: create
insert into execution_webhooks (org_id, id, name, url, description, event_types, workflow_id, max_retries, secret,
    created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
-- name: count
select count(*) from execution_webhooks where org_id = $1;
-- name: get
select org_id, id, name, url, description, event_types, workflow_id, max_retries, created_by, created_at, updated_at,
    disabled_at
from execution_webhooks where org_id = $1 and id = $2;
-- name: list
select org_id, id, name, url, description, event_types, workflow_id, max_retries, created_by, created_at, updated_at,
    disabled_at
from execution_webhooks where org_id = $1 order by created_at desc, id limit $2 offset $3;
-- name: disable
-- What was to be sent is not, and says why; it may be retried when the webhook is enabled.
with changed as (
    update execution_webhooks set disabled_at = coalesce(disabled_at, now()), updated_at = now()
    where org_id = $1 and id = $2 returning id
), given_up as (
    update webhook_deliveries d set status = 'failure', next_retry_at = null, updated_at = now(),
        error_message = 'the execution webhook was disabled'
    from changed c where d.org_id = $1 and d.endpoint_id = c.id and d.status in ('pending', 'retrying')
)
select id from changed;
-- name: enable
update execution_webhooks set disabled_at = null, updated_at = now() where org_id = $1 and id = $2 returning id;
-- name: put_secret
update execution_webhooks set secret = $3, updated_at = now() where org_id = $1 and id = $2 returning id;
