-- Attempts of a node, loops in progress, retries that wait, and a retry's edited input.
set local lock_timeout = '5s';

-- Both checks only become wider: what is stored satisfies them, and nothing has to be read again.
alter table node_runs add column attempt smallint not null default 1;
alter table node_runs drop constraint node_runs_status_check;
alter table node_runs add constraint node_runs_status_check
    check (status in ('success', 'failure', 'skipped', 'waiting', 'scheduled', 'running')) not valid;

-- delay, wait and wait_fail complete their node; retry and deadline only wake the run. A deadline has no node.
alter table timers drop constraint timers_kind_check;
alter table timers add constraint timers_kind_check
    check (kind in ('delay', 'wait', 'wait_fail', 'retry', 'deadline')) not valid;

-- The input that a retry gives to one node: {node_id, path, input}.
alter table runs add column edited jsonb;
