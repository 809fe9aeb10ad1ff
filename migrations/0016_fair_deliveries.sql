-- Deliveries are claimed in turn between organizations, and each of their two logs is read by an index of its own.
-- Writers of deliveries (runs that end among them) wait while the indexes are built: about 1 s for a million rows. Readers
-- wait only for the drops, which are last.
set local lock_timeout = '5s';

create index webhook_deliveries_open on webhook_deliveries (org_id, next_retry_at, id)
    where status in ('pending', 'retrying');
create index webhook_deliveries_of_nodes on webhook_deliveries (org_id, created_at desc, id) where endpoint_id = '';
create index webhook_deliveries_of_hooks on webhook_deliveries (org_id, created_at desc, id) where endpoint_id <> '';
drop index webhook_deliveries_due, webhook_deliveries_list;
