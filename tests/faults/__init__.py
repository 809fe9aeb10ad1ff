"""Faults, on real processes. `make test` runs the short form, `make faults` everything (marker `long`)."""
