"""Five processes started for real."""
