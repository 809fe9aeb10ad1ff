-- Leases on database time. An epoch only grows; taking over a lease is a new epoch.
-- name: acquire
insert into leases as l (name, owner, epoch, until) values ($1, $2, 1, now() + make_interval(secs => $3))
on conflict (name) do update set owner = excluded.owner, until = excluded.until,
    epoch = l.epoch + case when l.owner = excluded.owner and l.until > now() then 0 else 1 end
where l.owner = excluded.owner or l.until <= now()
returning epoch;
-- name: acquire_free
-- What others hold is not even touched: a row that is locked to be looked at costs a commit.
insert into leases as l (name, owner, epoch, until)
select w.name, $2, 1, now() + make_interval(secs => $3) from unnest($1::text[]) w (name)
where not exists (select 1 from leases o where o.name = w.name and o.owner <> $2 and o.until > now()) order by 1
on conflict (name) do update set owner = excluded.owner, until = excluded.until,
    epoch = l.epoch + case when l.owner = excluded.owner and l.until > now() then 0 else 1 end, asked_by = null
where l.owner = excluded.owner or l.until <= now()
returning name, epoch;
-- name: renew
-- How the sources fare goes into the same commit: an idle master writes once for both.
with told as (
    insert into source_states (source, holder, lag, error, error_at, detail, org_id)
    select i.source, $1, i.lag, i.error, to_timestamp(i.error_s), i.detail, i.org_id
    from unnest($4::text[], $5::text[], $6::text[], $7::double precision[], $8::jsonb[], $9::text[])
        as i (source, lag, error, error_s, detail, org_id)
    join leases l on l.name = i.source and l.owner = $1 order by 1
    on conflict (source) do update set holder = excluded.holder, lag = excluded.lag, error = excluded.error,
        error_at = excluded.error_at, detail = excluded.detail, told_at = now()
)
update leases set until = now() + make_interval(secs => $3)
-- One that was given back meanwhile stays so.
where owner = $1 and name in (
    select name from leases where owner = $1 and name = any($2) and until > '-infinity' order by name for update)
returning name;
-- name: release
update leases set until = '-infinity', asked_by = null where name = $1 and owner = $2;
-- name: others
-- What others hold, and what is asked of $1.
select name, owner, coalesce(asked_by, '') as asked_by, extract(epoch from until - now())::float8 as left_s
from leases where until > now() and (owner <> $1 or asked_by is not null);
-- name: ask
update leases set asked_by = $2
where owner <> $2 and name in (select name from leases where name = any($1) and until > now() order by name for update);
-- name: leave
delete from leases where name = $1 and owner = $2;
-- name: forget_dead
-- Only what names no source: the epoch of a source's lease must not begin anew.
delete from leases where starts_with(name, $1) and until < now() - interval '1 hour';
-- name: check_epoch
select 1 from leases where name = $1 and epoch = $2 for share;
-- name: read_cursor
select position from cursors where source = $1;
-- name: write_cursor
insert into cursors (source, epoch, position) values ($1, $2, $3)
on conflict (source) do update set epoch = excluded.epoch, position = excluded.position, updated_at = now();
