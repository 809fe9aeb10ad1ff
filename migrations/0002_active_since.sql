-- Since when a trigger is active: a source that catches up must not fire it for what happened before.
set local lock_timeout = '5s';
alter table triggers add column active_since timestamptz not null default now();
