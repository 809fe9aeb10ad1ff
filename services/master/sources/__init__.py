"""Where events come from, one kind a file: cron (slots), chain (EVM blocks, with tokens for the names of ERC-20s)."""
