"""Who is calling and their secrets: principal.py (API keys), envelope.py (encryption), connectors.py (credentials)."""
