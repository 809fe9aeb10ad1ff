"""EVM chains: chains as data (chains.py), JSON-RPC (rpc.py), blocks and logs (blocks.py), contract calls (abi.py)."""
