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

    def has_keys(self, chain_id: int, kind: int) -> bool:
        return any(one == kind and key[:8] == chain_id.to_bytes(8, "big") for one, key in self._of_chains())

    def steps(self, chain_id: int) -> list[int]:
        mine = [key[8:] for kind, key in self._of_chains() if kind == 10 and key[:8] == chain_id.to_bytes(8, "big")]
        return sorted({int.from_bytes(step, "big") for step in mine if len(step) == 8})

    def _of_chains(self) -> list[tuple[int, bytes]]:
        held = [pair for keys in self.keys.values() for pair in keys]
        return [(kind, key) for kind, key in held if kind in (1, 2, 8, 9, 10) and len(key) >= 8]

    def log_filter(self, chain_id: int) -> tuple[list[bytes] | None, tuple[list[bytes] | None, ...]]:
        mine = [p for patterns in self.logs.values() for p in patterns if p[0] == chain_id]
        return (
            _merged({address for _, address, _ in mine}),
            tuple(_merged({bound[at] if at < len(bound) else None for _, _, bound in mine}) for at in range(4)),
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


def _merged(wanted: set[bytes | None]) -> list[bytes] | None:
    return None if None in wanted else sorted(one for one in wanted if one is not None)
