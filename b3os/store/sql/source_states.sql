-- How the sources of the masters fare, as their holders told last.
-- name: tell
insert into source_states (source, holder, lag, error, error_at, detail)
select i.source, $1, i.lag, i.error, to_timestamp(i.error_s), i.detail
from unnest($2::text[], $3::text[], $4::text[], $5::double precision[], $6::jsonb[])
    as i (source, lag, error, error_s, detail) order by 1
on conflict (source) do update set holder = excluded.holder, lag = excluded.lag, error = excluded.error,
    error_at = excluded.error_at, detail = excluded.detail, told_at = now();
-- name: list
select source, holder, lag, error, error_at, detail, told_at from source_states order by source;
