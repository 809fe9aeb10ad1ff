-- How the sources of the masters fare, as their holders told last (with a lease's renewal).
-- name: list
select source, holder, lag, error, error_at, detail, told_at from source_states
where org_id in ('', $1) order by source;
-- name: keep_only
-- What another master told of a moment ago stays: it may know triggers that this one does not.
delete from source_states where source <> all($1::text[]) and told_at < now() - interval '1 minute';
