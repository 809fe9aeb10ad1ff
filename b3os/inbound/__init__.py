"""Calls from outside that start runs: receive.py (the one admission path of every listener), targets.py (where an
address leads), admission.py (calls that arrive together share a transaction), keep.py (what was received)."""
