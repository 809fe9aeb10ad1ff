"""One SQLite database per organization: statement.py (what may be asked), engine.py (asking it, within limits)."""
