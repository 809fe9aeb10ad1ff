"""Chain client tests."""
