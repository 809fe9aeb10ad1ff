-- Webhook deliveries of send-webhook and of execution webhooks: the log, and what is still to be sent.
-- name: add
insert into webhook_deliveries (org_id, id, workflow_id, run_id, node_id, url, method, headers, secret_headers, body,
    max_retries)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing;
-- name: claim_due
-- Whoever claims has until claimed_until to say how it went; after a crash another sends it again. Of each organization
-- only the $3 that are due longest may be claimed, those that are in flight among them; who has least in flight is first.
-- The organizations are found by leaping from one to the next in the index, however much waits for each.
with recursive orgs as (
    (select org_id from webhook_deliveries where status in ('pending', 'retrying')
        order by org_id, next_retry_at limit 1)
    union all
    select (select d.org_id from webhook_deliveries d
        where d.status in ('pending', 'retrying') and d.org_id > o.org_id order by d.org_id, d.next_retry_at limit 1)
    from orgs o where o.org_id is not null
), due as materialized (
    select d.org_id, d.id, d.place from orgs o cross join lateral (
        select w.org_id, w.id, w.claimed_until, row_number() over (order by w.next_retry_at, w.id) as place from (
            select org_id, id, claimed_until, next_retry_at from webhook_deliveries
            where org_id = o.org_id and status in ('pending', 'retrying') and next_retry_at <= now()
            order by next_retry_at, id limit $3
        ) w
    ) d
    where d.claimed_until is null or d.claimed_until <= now()
    order by d.place limit 4 * $1 -- more than are wanted, as others may be claiming the first
), free as materialized (
    select d.org_id, d.id from due join webhook_deliveries d using (org_id, id)
    where d.status in ('pending', 'retrying') and (d.claimed_until is null or d.claimed_until <= now())
    order by due.place limit $1 for update of d skip locked
)
update webhook_deliveries d set claimed_until = now() + make_interval(secs => $2)
from free f
where d.org_id = f.org_id and d.id = f.id
returning d.org_id, d.id, d.url, d.method, d.headers, d.secret_headers, d.body, d.retry_count, d.max_retries,
    coalesce(d.replay_of, d.id) as sealed_as, d.endpoint_id,
    (select h.secret from execution_webhooks h where h.org_id = d.org_id and h.id = d.endpoint_id) as hook_secret,
    exists (select 1 from execution_webhooks h where h.org_id = d.org_id and h.id = d.endpoint_id
        and h.disabled_at is not null) as is_disabled,
    d.next_retry_at < now() - make_interval(secs => $4) as is_late;
-- name: finish
update webhook_deliveries set status = $3, retry_count = $4, next_retry_at = now() + make_interval(secs => $5::float8),
    claimed_until = null, response_status = $6, response_headers = $7, response_body = $8, error_message = $9,
    duration_ms = $10, updated_at = now()
where org_id = $1 and id = $2 and status in ('pending', 'retrying');
-- name: get
select org_id, id, workflow_id, run_id, node_id, url, method, headers, body, status, retry_count, max_retries,
    next_retry_at, response_status, response_headers, response_body, error_message, duration_ms, replay_of, created_at,
    updated_at, endpoint_id, event_type
from webhook_deliveries where org_id = $1 and id = $2;
-- name: list_of_nodes
-- Each log is read by an index of its own: beside the other's, one may have few rows.
select org_id, id, workflow_id, run_id, node_id, url, method, headers, body, status, retry_count, max_retries,
    next_retry_at, response_status, response_headers, response_body, error_message, duration_ms, replay_of, created_at,
    updated_at, endpoint_id, event_type
from webhook_deliveries
where org_id = $1 and endpoint_id = '' and ($2::text is null or workflow_id = $2)
    and ($3::text[] is null or status = any($3)) and ($6::text is null or endpoint_id = $6)
order by created_at desc, id limit $4 offset $5;
-- name: list_of_hooks
select org_id, id, workflow_id, run_id, node_id, url, method, headers, body, status, retry_count, max_retries,
    next_retry_at, response_status, response_headers, response_body, error_message, duration_ms, replay_of, created_at,
    updated_at, endpoint_id, event_type
from webhook_deliveries
where org_id = $1 and endpoint_id <> '' and ($2::text is null or workflow_id = $2)
    and ($3::text[] is null or status = any($3)) and ($6::text is null or endpoint_id = $6)
order by created_at desc, id limit $4 offset $5;
-- name: replay
insert into webhook_deliveries (org_id, id, workflow_id, run_id, node_id, url, method, headers, secret_headers, body,
    max_retries, endpoint_id, event_type, replay_of)
select org_id, $3, workflow_id, run_id, node_id, url, method, headers, secret_headers, body, max_retries,
    endpoint_id, event_type, coalesce(replay_of, id)
from webhook_deliveries d where org_id = $1 and id = $2 and not exists (select 1 from execution_webhooks h
    where h.org_id = d.org_id and h.id = d.endpoint_id and h.disabled_at is not null) returning id;
-- name: retry
update webhook_deliveries d set status = 'pending', retry_count = 0, next_retry_at = now(), claimed_until = null,
    updated_at = now()
where org_id = $1 and id = $2 and status = 'failure' and not exists (select 1 from execution_webhooks h
    where h.org_id = d.org_id and h.id = d.endpoint_id and h.disabled_at is not null) returning id;
-- name: remove_deliveries
with gone as (
    delete from webhook_deliveries where (org_id, id) in (
        select org_id, id from webhook_deliveries
        where status in ('success', 'failure') and updated_at < $1::date limit $2)
    returning 1
)
select count(*) from gone;
-- name: put_webhook_secret
update organizations set webhook_secret = $2 where org_id = $1 and webhook_secret = '';
-- name: webhook_secret
select webhook_secret from organizations where org_id = $1;
