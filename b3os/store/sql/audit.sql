-- The API's audit trail.
-- name: add
insert into api_audit (org_id, day, id, entry)
select i.org_id, (now() at time zone 'utc')::date, i.id, i.entry::jsonb
from unnest($1::text[], $2::text[], $3::text[]) as i (org_id, id, entry) on conflict do nothing;
-- name: list
select org_id, id, at, entry from api_audit where org_id = $1 order by at desc, id limit $2 offset $3;
