-- Prices: the time series of ticks, and which price triggers have fired and wait for the price to come back.
set local lock_timeout = '5s';

-- No tenant data. Range partitioned by day, as node_runs is.
create table prices (
    day date not null,
    asset text not null,
    at timestamptz not null,
    price numeric not null,
    primary key (asset, at, day)
) partition by range (day);
create table prices_default partition of prices default;
grant select on prices to b3os_app;

-- `mark` says what was latched: the trigger's start and threshold. A row with another mark says nothing any more.
create table price_latches (
    org_id text not null,
    workflow_id text not null,
    node_id text not null,
    mark text not null,
    primary key (org_id, workflow_id, node_id)
);
alter table price_latches enable row level security;
alter table price_latches force row level security;
do $$
begin
    execute 'create policy tenant on price_latches to b3os_app using (org_id = current_setting(''app.org_id'', true)) '
        'with check (org_id = current_setting(''app.org_id'', true))';
    execute format('create policy engine on price_latches to %I using (true) with check (true)', current_user);
end $$;

-- Every table that is partitioned by `day`, instead of a list that each new one would have to join.
create or replace function b3os_ensure_partitions(first_day date, ahead integer) returns integer language plpgsql as $$
declare
    parent text;
    d date;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('b3os_partitions'));
    for parent in
        select c.relname from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
            join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
        where c.relnamespace = current_schema()::regnamespace and a.attname = 'day' order by c.relname
    loop
        for d in select generate_series(first_day, first_day + ahead, interval '1 day')::date loop
            continue when to_regclass(format('%I', parent || to_char(d, '_YYYYMMDD'))) is not null;
            begin
                execute format('create table %I partition of %I for values from (%L) to (%L)',
                    parent || to_char(d, '_YYYYMMDD'), parent, d, d + 1);
                made := made + 1;
            exception when check_violation then
                null; -- the default partition already has rows of that day: they stay there
            end;
        end loop;
    end loop;
    return made;
end $$;

select b3os_ensure_partitions((now() at time zone 'utc')::date, 2);
