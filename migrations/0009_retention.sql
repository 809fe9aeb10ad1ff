-- Ended runs are removed by day; the index that finds them is one entry for 32 pages, so that starting a run costs no more.
set local lock_timeout = '5s';
create index runs_day on runs using brin (day) with (pages_per_range = 32, autosummarize = on);
-- When a workflow last ran, of the runs that are removed.
alter table workflows add column last_run_at timestamptz;
