-- What a master hears of a trigger without a pattern: its payload, and under `$wait` the node that its event completes.
set local lock_timeout = '5s';
create function b3os_heard(payload jsonb, run_id text, node_id text, path text) returns jsonb
    language sql immutable parallel safe as $$
    select case when run_id is null then payload
        else payload || jsonb_build_object('$wait', jsonb_build_array(run_id, node_id, path)) end
$$;
