"""How a chain is followed: its place, reading, finality."""
