-- Upkeep: partitions ahead, and the removal of what is old. On the engine's role, in small batches.
-- name: be_quick
-- Whoever waits for a lock on a whole table makes everybody wait behind it: rather give up and come again.
set local lock_timeout = '200ms';
-- name: ensure_partitions
select b3os_ensure_partitions((now() at time zone 'utc')::date, $1);
-- name: drop_partitions
select b3os_drop_partitions($1, $2);
-- name: today
select (now() at time zone 'utc')::date;
-- name: remove_runs
with old as (
    select org_id, id, workflow_id, started_at from runs
    where day < $1 and status in ('success', 'partial', 'failure', 'cancelled')
      and coalesce(finished_at, started_at) < $1::date
    limit $2 for update skip locked
), noted as (
    update workflows w set last_run_at = o.at
    from (select org_id, workflow_id, max(started_at) as at from old group by org_id, workflow_id) o
    where w.org_id = o.org_id and w.id = o.workflow_id and (w.last_run_at is null or w.last_run_at < o.at)
), gone as (
    delete from runs r using old o where r.org_id = o.org_id and r.id = o.id returning r.id
)
select count(*) from gone;
-- name: remove_receipts
-- A receipt lives as long as its run, so that the event stays known.
with old as (
    select c.org_id, c.key from receipts c
    where c.received_at < $1::date
      and not exists (select 1 from runs r where r.org_id = c.org_id and r.id = c.run_id)
    limit $2
), gone as (
    delete from receipts c using old o where c.org_id = o.org_id and c.key = o.key returning c.key
)
select count(*) from gone;
-- name: first_day
select min(day) from runs where day < $1;
-- name: remove_workers
with gone as (delete from workers where until < now() - interval '1 day' returning owner) select count(*) from gone;
