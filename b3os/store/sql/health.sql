-- Health results of actions and integrations (no tenant data).
-- name: add
insert into health_results (day, target, kind, status, latency_ms, detail)
select (now() at time zone 'utc')::date, i.target, i.kind, i.status, i.latency_ms, i.detail::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::text[])
    as i (target, kind, status, latency_ms, detail);
-- name: latest
select distinct on (target) target, kind, status, latency_ms, detail, at from health_results
where at > now() - make_interval(secs => $1) order by target, at desc;
-- name: history
select target, kind, status, latency_ms, detail, at from health_results where target = $1 order by at desc limit $2;
-- name: ping
select 1;
-- name: lease_is_held
select exists (select 1 from leases where name = $1 and until > now());
-- name: oldest_unclaimed_s
select extract(epoch from now() - min(r.started_at))::float8 from runs r
where r.status = 'running'
  and not exists (select 1 from workers w where w.owner = r.owner and w.until > now())
  and not exists (select 1 from timers t where t.org_id = r.org_id and t.run_id = r.id);
