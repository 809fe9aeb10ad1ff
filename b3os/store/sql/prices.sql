-- Prices: ticks by day, and the latches of price triggers.
-- name: add_ticks
insert into prices (day, asset, at, price)
select (to_timestamp(i.at_us / 1000000.0) at time zone 'utc')::date, i.asset, to_timestamp(i.at_us / 1000000.0),
    i.price::numeric
from unnest($1::text[], $2::bigint[], $3::text[]) as i (asset, at_us, price)
on conflict do nothing;
-- name: latch
insert into price_latches (org_id, workflow_id, node_id, mark)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
on conflict (org_id, workflow_id, node_id) do update set mark = excluded.mark;
-- name: unlatch
delete from price_latches
where (org_id, workflow_id, node_id) in (select * from unnest($1::text[], $2::text[], $3::text[]));
-- name: forget_latches
delete from price_latches l where not exists (
    select 1 from triggers t
    where t.org_id = l.org_id and t.workflow_id = l.workflow_id and t.node_id = l.node_id and t.active);
-- name: read_latches
select org_id, workflow_id, node_id, mark from price_latches;
