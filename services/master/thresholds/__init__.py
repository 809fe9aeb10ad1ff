"""What the sources of triggers on a chain's state are made of."""
