"""The trigger index as plain dictionaries by shape: what one would write in Python, and the benchmark's baseline."""

import json
from collections.abc import Sequence
from typing import Any

Shape = tuple[bool, ...]


class LookupModel:
    """One dictionary for each set of bound fields."""

    def __init__(self) -> None:
        self.tables: dict[Shape, dict[tuple[Any, ...], set[int]]] = {}

    def put_log(self, slot: int, chain_id: int, address: bytes | None, topics: Sequence[bytes | None]) -> None:
        fields = (address, *topics, *[None] * (4 - len(topics)))
        shape = tuple(field is not None for field in fields)
        key = (chain_id, *(field for field in fields if field is not None))
        self.tables.setdefault(shape, {}).setdefault(key, set()).add(slot)

    def match_logs_json(self, chain_id: int, body: bytes) -> tuple[int, list[tuple[int, int]]]:
        """Match an eth_getLogs answer: (number of logs, [(slot, number of the log), …])."""
        logs = json.loads(body)["result"]
        found = []
        for number, log in enumerate(logs):
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
            fields = (bytes.fromhex(log["address"][2:]), *topics, *[None] * (4 - len(topics)))
            slots: set[int] = set()
            for shape, table in self.tables.items():
                if all(field is not None for field, bound in zip(fields, shape, strict=True) if bound):
                    bound_fields = (field for field, bound in zip(fields, shape, strict=True) if bound)
                    slots |= table.get((chain_id, *bound_fields), set())
            found += [(slot, number) for slot in sorted(slots)]
        return len(logs), found
