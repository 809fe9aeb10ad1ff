"""The whole engine on a virtual clock, under faults that a seed chooses."""
