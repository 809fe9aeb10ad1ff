-- What keeps runs moving: handing over, and finding those that nobody holds. Every list is paged by organization, so
-- that one with a hundred thousand runs takes no turn from another.
-- name: look
-- One statement of the idle engine: is anything to be done?
with recursive owners as (
    (select r.owner from runs r where r.status = 'running' and r.owner is not null order by r.owner limit 1)
    union all
    select (select r.owner from runs r where r.status = 'running' and r.owner > o.owner order by r.owner limit 1)
    from owners o where o.owner is not null
)
select exists (select 1 from timers where due_at <= now()) as is_due,
    exists (select 1 from runs where status = 'running' and queued_at is null) as is_waiting,
    exists (select 1 from runs where status = 'running' and owner is null
        and queued_at < now() - make_interval(secs => $1)) as is_lost,
    exists (select 1 from owners o where o.owner is not null
        and not exists (select 1 from workers w where w.owner = o.owner and w.until > now())) as is_dead;
-- name: feed
-- Hand over runs that wait: one of each organization with room, then the second of each, and so on.
with recursive orgs as (
    (select r.org_id from runs r where r.status = 'running' and r.queued_at is null and r.org_id > $1
        order by r.org_id limit 1)
    union all
    select (select r.org_id from runs r where r.status = 'running' and r.queued_at is null and r.org_id > o.org_id
        order by r.org_id limit 1) from orgs o where o.org_id is not null
), page as materialized (
    select o.org_id, b3os_room(o.org_id) as room from (select org_id from orgs where org_id is not null limit $2) o
), chosen as (
    select w.org_id, w.id, w.turn from page p cross join lateral (
        select r.org_id, r.id, row_number() over (order by r.started_at) as turn from runs r
        where r.org_id = p.org_id and r.status = 'running' and r.queued_at is null
        order by r.started_at limit least(p.room, $3)
    ) w
    order by w.turn, w.org_id limit $3
), handed as (
    update runs r set queued_at = now() from chosen c
    where r.org_id = c.org_id and r.id = c.id and r.status = 'running' and r.queued_at is null
    returning r.org_id, r.id, r.trigger_source, c.turn
)
select (select max(org_id) from page) as last, (select count(*) from page) as orgs, h.org_id, h.id, h.trigger_source
from (select 1) one left join handed h on true order by h.turn, h.org_id;
-- name: lost
-- Runs that were handed over a while ago and that nobody holds: the queue may have lost them.
with recursive orgs as (
    (select r.org_id from runs r where r.status = 'running' and r.queued_at is not null and r.owner is null
        and r.org_id > $1 order by r.org_id limit 1)
    union all
    select (select r.org_id from runs r where r.status = 'running' and r.queued_at is not null and r.owner is null
        and r.org_id > o.org_id order by r.org_id limit 1) from orgs o where o.org_id is not null
), page as materialized (
    select org_id from orgs where org_id is not null limit $2
), chosen as (
    select w.org_id, w.id from page p cross join lateral (
        select r.org_id, r.id from runs r
        where r.org_id = p.org_id and r.status = 'running' and r.owner is null
            and r.queued_at < now() - make_interval(secs => $4)
        order by r.queued_at limit $3
    ) w
), again as (
    update runs r set queued_at = now() from chosen c
    where r.org_id = c.org_id and r.id = c.id and r.status = 'running' and r.owner is null
        and r.queued_at < now() - make_interval(secs => $4)
    returning r.org_id, r.id, r.trigger_source
)
select (select max(org_id) from page) as last, (select count(*) from page) as orgs, a.org_id, a.id, a.trigger_source
from (select 1) one left join again a on true;
-- name: take_from_the_dead
-- Runs whose owner's lease has run out: nobody holds them any more. Their epoch moves when they are claimed.
with recursive owners as (
    (select r.owner from runs r where r.status = 'running' and r.owner is not null order by r.owner limit 1)
    union all
    select (select r.owner from runs r where r.status = 'running' and r.owner > o.owner order by r.owner limit 1)
    from owners o where o.owner is not null
), dead as (
    select o.owner from owners o where o.owner is not null
        and not exists (select 1 from workers w where w.owner = o.owner and w.until > now())
), chosen as (
    select r.org_id, r.id from runs r join dead d on d.owner = r.owner where r.status = 'running'
    order by r.org_id, r.id limit $1 for update of r skip locked
)
update runs r set owner = null, queued_at = now() from chosen c
where r.org_id = c.org_id and r.id = c.id returning r.org_id, r.id, r.trigger_source;
-- name: give_back
-- A worker that stops lets all its runs go, so that another takes them at once.
with mine as (
    select org_id, id from runs where owner = $1 and status = 'running' order by org_id, id for update
)
update runs r set owner = null, queued_at = now() from mine m
where r.org_id = m.org_id and r.id = m.id returning r.org_id, r.id, r.trigger_source;
-- name: let_go
-- Runs that a live worker owns and does not hold: a claim whose answer was lost, a run that raised.
with stray as (
    select org_id, id from runs where owner = $1 and status = 'running' and id = any($2) order by org_id, id for update
)
update runs r set owner = null, queued_at = now() from stray s
where r.org_id = s.org_id and r.id = s.id returning r.org_id, r.id, r.trigger_source;
-- name: leave
delete from workers where owner = $1;
-- name: forget_workers
delete from workers where until < now() - interval '1 day';
-- name: is_led
select exists (select 1 from leases where name = $1 and owner <> $2 and until > now());
-- name: due_timers
select t.org_id, t.run_id, t.node_id, t.path, t.kind from timers t
join runs r on r.org_id = t.org_id and r.id = t.run_id
where t.due_at <= now() order by t.due_at limit $1 for update of r, t skip locked;
