-- Organizations, users, members and API keys.
-- name: create_org
insert into organizations (org_id, name, slug, created_by, data_key, webhook_secret) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing returning org_id;
-- name: get_org
select org_id, name, slug, description, photo, tier, cu_min_threshold::float8, cu_balance::float8, webhook_secret,
    created_by, created_at, updated_at from organizations where org_id = $1 and deleted_at is null;
-- name: orgs_of
select o.org_id, o.name, o.slug, o.description, o.photo, o.tier, o.cu_min_threshold::float8, o.cu_balance::float8,
    o.webhook_secret, o.created_by, o.created_at, o.updated_at
from members m join organizations o on o.org_id = m.org_id and o.deleted_at is null where m.user_id = $1
order by o.created_at, o.org_id;
-- name: update_org
update organizations set name = coalesce($2, name), description = coalesce($3, description),
    photo = coalesce($4, photo), updated_at = now() where org_id = $1 and deleted_at is null returning org_id;
-- name: data_key
select data_key from organizations where org_id = $1;
-- name: set_data_key
update organizations set data_key = $2 where org_id = $1 and data_key is null returning data_key;
-- name: create_user
insert into users (id, email, name, password_hash) values ($1, $2, $3, $4) on conflict do nothing returning id;
-- name: user_by_email
select id, email, name, password_hash, created_at from users where lower(email) = lower($1);
-- name: user_by_id
select id, email, name, password_hash, created_at from users where id = $1;
-- name: put_member
insert into members (org_id, user_id, id, role, invited_by) values ($1, $2, $3, $4, $5)
on conflict (org_id, user_id) do update set role = excluded.role, updated_at = now();
-- name: members
select m.org_id, m.user_id, m.id, m.role, m.invited_by, m.created_at, m.updated_at, u.email as user_email
from members m join users u on u.id = m.user_id where m.org_id = $1 order by m.created_at, m.user_id;
-- name: role
select role from members where org_id = $1 and user_id = $2;
-- name: create_key
insert into api_keys (org_id, id, key_hash, key_prefix, name, description, scope, service_account_id, user_id,
    created_by, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);
-- name: keys
select org_id, id, key_prefix, name, description, scope, service_account_id, user_id, created_by, created_at,
    expires_at, revoked_at, last_used_at, last_used_ip, last_used_user_agent
from api_keys where org_id = $1 order by created_at desc, id;
-- name: get_key
select org_id, id, key_prefix, name, description, scope, service_account_id, user_id, created_by, created_at,
    expires_at, revoked_at, last_used_at, last_used_ip, last_used_user_agent
from api_keys where org_id = $1 and id = $2;
-- name: find_key
select org_id, id, key_prefix, name, description, scope, service_account_id, user_id, created_by, created_at,
    expires_at, revoked_at, last_used_at, last_used_ip, last_used_user_agent
from api_keys where key_hash = $1 and revoked_at is null and (expires_at is null or expires_at > now());
-- name: revoke_key
update api_keys set revoked_at = coalesce(revoked_at, now()) where org_id = $1 and id = $2 returning id;
-- name: touch_key
update api_keys set last_used_at = now(), last_used_ip = $3, last_used_user_agent = $4
where org_id = $1 and id = $2 and (last_used_at is null or last_used_at < now() - interval '1 minute');
