"""Calls from outside that start runs: forms.py (the addresses, what they answer), receive.py (the one admission path of
every listener), resume.py (answers to nodes that wait), targets.py (where an address leads), admission.py (calls
that arrive together share a transaction), keep.py (what was received)."""
