-- What is known of triggers on a chain's state. Whose condition is false, and has been, has no row.
-- name: put
insert into edge_states (org_id, workflow_id, node_id, source, mark, state)
select i.org_id, i.workflow_id, i.node_id, $1, i.mark, i.state
from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[]) as i (org_id, workflow_id, node_id, mark, state)
order by 1, 2, 3
on conflict (org_id, workflow_id, node_id) do update set source = excluded.source, mark = excluded.mark,
    state = excluded.state;
-- name: drop
delete from edge_states
where (org_id, workflow_id, node_id) in (select * from unnest($1::text[], $2::text[], $3::text[]));
-- name: forget
delete from edge_states s where s.source = $1 and not exists (
    select 1 from triggers t
    where t.org_id = s.org_id and t.workflow_id = s.workflow_id and t.node_id = s.node_id and t.active);
-- name: read
select org_id, workflow_id, node_id, mark, state from edge_states where source = $1;
