"""Reading a chain for triggers: what masters follow and backtests look back at."""
