"""Tests of the health rules."""
