"""ABI tests."""
