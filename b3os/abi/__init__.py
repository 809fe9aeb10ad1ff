"""The contract ABI, pure: types (types.py), values and bytes (codec.py), signatures and hashes (signature.py)."""
