"""The demo chain: a local Anvil with our test token."""
