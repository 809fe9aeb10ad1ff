-- The masters' view of triggers. A row is read as record_send writes it, so that no column becomes an object on the way.
-- name: rebase
update triggers set xid = pg_current_xact_id() where xid >= pg_snapshot_xmax(pg_current_snapshot());
-- name: begin
select pg_current_snapshot()::text as snapshot, (pg_relation_size('triggers') / 8192)::int as blocks;
-- name: read_page
select string_agg(record_send(row(org_id, workflow_id, node_id, type, version, active_since, active, pattern,
    case when pattern = '' then payload end,
    case when wait_run_id is not null then json_build_array(wait_run_id, wait_node_id, wait_path)::text end)), '')
from triggers where active and ctid >= $1 and ctid < $2;
-- The snapshot comes in parts, so that the plan is made for their values: a guess would read the whole table.
-- name: read_changes
select pg_current_snapshot()::text as snapshot,
    string_agg(record_send(row(org_id, workflow_id, node_id, type, version, active_since, active, pattern,
        case when pattern = '' then payload end,
        case when wait_run_id is not null then json_build_array(wait_run_id, wait_node_id, wait_path)::text end)), '')
    as records
from triggers
where xid >= $1::text::xid8 or xid = any($2::text[]::xid8[]);
-- name: read_settled
select string_agg(record_send(row(org_id, workflow_id, node_id, type, version, active_since, active, pattern,
    case when pattern = '' then payload end,
    case when wait_run_id is not null then json_build_array(wait_run_id, wait_node_id, wait_path)::text end)), '')
from triggers where active and ctid >= $1 and ctid < $2 and pg_visible_in_snapshot(xid, $3::text::pg_snapshot);
-- name: read_named
select string_agg(record_send(row(org_id, workflow_id, node_id, type, version, active_since, active, pattern,
    case when pattern = '' then payload end,
    case when wait_run_id is not null then json_build_array(wait_run_id, wait_node_id, wait_path)::text end)), '')
from triggers
where active and (org_id, workflow_id, node_id) in (select * from unnest($1::text[], $2::text[], $3::text[]));
-- name: put_problems
insert into trigger_problems (org_id, workflow_id, node_id, reason, message)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
on conflict (org_id, workflow_id, node_id) do update set reason = excluded.reason, message = excluded.message,
    found_at = now()
where (trigger_problems.reason, trigger_problems.message) is distinct from (excluded.reason, excluded.message);
-- name: drop_problems
delete from trigger_problems
where (org_id, workflow_id, node_id) in (select * from unnest($1::text[], $2::text[], $3::text[]));
-- name: keep_problems
delete from trigger_problems
where reason not in ('trigger', 'source') and (org_id, workflow_id, node_id) not in (select * from unnest($1::text[], $2::text[], $3::text[]));
-- name: cure
delete from trigger_problems
where (org_id, workflow_id, node_id) in (select * from unnest($1::text[], $2::text[], $3::text[])) and reason = $4;
-- name: problems_of
select node_id, reason, message, found_at from trigger_problems where org_id = $1 and workflow_id = $2 order by node_id;
