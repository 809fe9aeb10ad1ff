"""Tests of speedups."""
