"""Tests of the providers against servers that speak their wire formats."""
