"""The trigger index as plain Python: every pattern is compared with every event."""

import json
from collections.abc import Sequence

Pattern = tuple[int, bytes | None, tuple[bytes | None, ...]]


class TriggerIndexModel:
    """Patterns and keys by slot."""

    def __init__(self) -> None:
        self.logs: dict[int, list[Pattern]] = {}
        self.keys: dict[int, list[tuple[int, bytes]]] = {}

    def __len__(self) -> int:
        return len(set(self.logs) | set(self.keys))

    def put_log(self, slot: int, chain_id: int, address: bytes | None, topics: Sequence[bytes | None]) -> None:
        self.logs.setdefault(slot, []).append((chain_id, address, tuple(topics)))

    def put_key(self, slot: int, kind: int, key: bytes) -> None:
        self.keys.setdefault(slot, []).append((kind, key))

    def drop(self, slot: int) -> bool:
        return (self.logs.pop(slot, None) is not None) | (self.keys.pop(slot, None) is not None)

    def has_chain(self, chain_id: int) -> bool:
        return any(pattern[0] == chain_id for patterns in self.logs.values() for pattern in patterns)

    def log_filter(self, chain_id: int) -> tuple[list[bytes] | None, list[bytes] | None]:
        mine = [p for patterns in self.logs.values() for p in patterns if p[0] == chain_id]
        addresses = {address for _, address, _ in mine}
        heads = {topics[0] if topics else None for _, _, topics in mine}
        return (
            None if None in addresses else sorted(a for a in addresses if a),
            None if None in heads else sorted(h for h in heads if h),
        )

    def match_log(self, chain_id: int, address: bytes, topics: Sequence[bytes]) -> list[int]:
        return sorted(
            slot
            for slot, patterns in self.logs.items()
            if any(
                chain == chain_id
                and wanted in (None, address)
                and all(
                    topic is None or (number < len(topics) and topic == topics[number])
                    for number, topic in enumerate(bound)
                )
                for chain, wanted, bound in patterns
            )
        )

    def match_keys(self, kind: int, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        return [
            (number, slot)
            for number, key in enumerate(keys)
            for slot in sorted(self.keys)
            if (kind, key) in self.keys[slot]
        ]

    def match_logs(self, chain_id: int, logs: Sequence[dict[str, object]]) -> list[tuple[int, str]]:
        """Slots and the JSON of the logs that they match."""
        found = []
        for log in logs:
            address = bytes.fromhex(str(log["address"])[2:])
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"] or ()]  # type: ignore[attr-defined]
            found += [(slot, json.dumps(log)) for slot in self.match_log(chain_id, address, topics)]
        return found
