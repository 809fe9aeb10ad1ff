"""Servers that speak the true wire format of what B3OS talks to."""
