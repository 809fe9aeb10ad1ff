-- A master that holds less than its share of the sources asks the holder of one for it.
-- Adds a column without a default (a catalog change): it waits for no long lock.
set local lock_timeout = '5s';

alter table leases add column asked_by text;
