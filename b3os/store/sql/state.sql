-- What state nodes keep. A write comes with its node's record, in the transaction of the group commit; of several
-- writes of one key in a batch the last one counts.
-- name: save_storage
insert into storage (org_id, workflow_id, key, value)
select distinct on (r.org_id, r.workflow_id, s.key) r.org_id, r.workflow_id, s.key, s.value::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality
    as s (org_id, run_id, store, key, value, place)
join runs r on r.org_id = s.org_id and r.id = s.run_id
where r.workflow_id <> ''
order by r.org_id, r.workflow_id, s.key, s.place desc
on conflict (org_id, workflow_id, key) do update set value = excluded.value, updated_at = now();
-- name: save_variables
insert into variables (org_id, workflow_id, name, value)
select distinct on (r.org_id, r.workflow_id, s.key) r.org_id, r.workflow_id, s.key, s.value::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality
    as s (org_id, run_id, store, key, value, place)
join runs r on r.org_id = s.org_id and r.id = s.run_id
where r.workflow_id <> ''
order by r.org_id, r.workflow_id, s.key, s.place desc
on conflict (org_id, workflow_id, name) do update set value = excluded.value, updated_at = now();
-- name: save_org_storage
insert into org_storage (org_id, store, key, value)
select distinct on (s.org_id, s.store, s.key) s.org_id, s.store, s.key, s.value::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality
    as s (org_id, run_id, store, key, value, place)
order by s.org_id, s.store, s.key, s.place desc
on conflict (org_id, store, key) do update set value = excluded.value, updated_at = now();
-- name: save_snapshots
update runs r set variables = s.variables::jsonb
from unnest($1::text[], $2::text[], $3::text[]) as s (org_id, id, variables)
where r.org_id = s.org_id and r.id = s.id and r.variables is null;
-- name: load_storage
select key, value from storage where org_id = $1 and workflow_id = $2;
-- name: load_variables
select name, value from variables where org_id = $1 and workflow_id = $2;
-- name: read_org_storage
select value from org_storage where org_id = $1 and store = $2 and key = $3;
-- name: list_org_storage
select key, case when $6 then value end as value from org_storage
where org_id = $1 and store = $2 and starts_with(key, $3) order by key limit $4 offset $5;
