"""Health: when a check is due (schedule.py), what its results mean (verdicts.py). Pure."""
