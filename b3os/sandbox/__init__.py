"""User JavaScript in processes of its own: pool.py (the parent), child.py (the process), confine.py (its limits)."""
