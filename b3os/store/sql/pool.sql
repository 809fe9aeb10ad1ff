-- What a tenant's transaction begins with.
-- name: become_app
set local role b3os_app;
-- name: set_org
select set_config('app.org_id', $1, true);
-- name: abandon
rollback;
