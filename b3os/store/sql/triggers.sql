-- The masters' view of triggers. Both reads return the snapshot's xmin even when there is no row.
-- name: read_all
select pg_snapshot_xmin(s.snap)::text::bigint as xmin, t.xid >= pg_snapshot_xmin(s.snap) as recent, t.org_id,
       t.workflow_id, t.version, t.node_id, t.type, t.payload, t.secret, t.cooldown_ms, t.max_runs, t.active, t.revision,
       (extract(epoch from t.active_since) * 1000)::bigint as active_since_ms,
       t.wait_run_id, t.wait_node_id, t.wait_path
from (select pg_current_snapshot() as snap) s
left join triggers t on t.active or t.xid >= pg_snapshot_xmin(s.snap);
-- name: read_changes
select pg_snapshot_xmin(s.snap)::text::bigint as xmin, t.xid >= pg_snapshot_xmin(s.snap) as recent, t.org_id,
       t.workflow_id, t.version, t.node_id, t.type, t.payload, t.secret, t.cooldown_ms, t.max_runs, t.active, t.revision,
       (extract(epoch from t.active_since) * 1000)::bigint as active_since_ms,
       t.wait_run_id, t.wait_node_id, t.wait_path
from (select pg_current_snapshot() as snap) s
left join triggers t on t.xid >= $1::bigint::text::xid8;
