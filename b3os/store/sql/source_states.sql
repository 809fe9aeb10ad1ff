-- How the sources of the masters fare, as their holders told last (with a lease's renewal).
-- name: list
select source, holder, lag, error, error_at, detail, told_at from source_states
where org_id in ('', $1) order by source;
