"""Who is calling, and secrets.

principal.py (API keys), envelope.py (encryption), sealing.py (an organization's secrets), connectors.py (credentials).
"""
