-- Connectors: masked data for people, encrypted bytes for the actions process.
-- name: create
insert into connectors (org_id, id, type, provider, name, description, masked_data, secret, created_by, updated_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9);
-- name: get
select org_id, id, type, provider, name, description, masked_data, created_by, updated_by, created_at, updated_at
from connectors where org_id = $1 and id = $2;
-- name: list
select org_id, id, type, provider, name, description, masked_data, created_by, updated_by, created_at, updated_at
from connectors where org_id = $1 and ($2::text is null or type = $2) order by created_at desc, id limit $3 offset $4;
-- name: update
update connectors set name = coalesce($3, name), description = coalesce($4, description),
    masked_data = coalesce($5, masked_data), secret = coalesce($6, secret), updated_by = $7, updated_at = now()
where org_id = $1 and id = $2 returning id;
-- name: delete
delete from connectors where org_id = $1 and id = $2 returning id;
-- name: secret
select secret from connectors where org_id = $1 and id = $2;
