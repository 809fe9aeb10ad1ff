"""PostgreSQL: the truth.

statements (named SQL of sql/), pool (jsonb, transactions, one organization's view), migrate; for the engine
triggers (change feed), admission (accepting events), leases (epochs, cursors), runs (claim, group commit, timers);
for the API run_reads, workflows, orgs, connectors, health, audit (also partition upkeep).
"""
