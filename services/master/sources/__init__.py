"""Where events come from, one kind a file: cron (slots), chain (EVM blocks, with tokens for the names of ERC-20s),
prices (the oracle's ticks, with stork for its wire)."""
