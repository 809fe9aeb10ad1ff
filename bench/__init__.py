"""Benchmarks: `make bench` runs all of them, prints each figure beside its bar, and fails below one."""
