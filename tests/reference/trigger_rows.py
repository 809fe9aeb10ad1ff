"""The held triggers as plain dictionaries."""

from typing import Any

Name = tuple[str, str, str]


class TriggerRowsModel:
    """Rows by name; a batch says which names changed, and how."""

    def __init__(self) -> None:
        self.rows: dict[Name, tuple[Any, ...]] = {}
        self.met: set[Name] = set()

    def apply(self, batch: dict[Name, tuple[Any, ...] | None]) -> tuple[set[Name], set[tuple[str, Name]]]:
        """Take rows (type, version, since, pattern, payload), None for a removed one: (put names, dropped)."""
        put: set[Name] = set()
        dropped: set[tuple[str, Name]] = set()
        for name, row in batch.items():
            held = self.rows.get(name)
            if row is None:
                if held is not None:
                    dropped.add((held[0], name))
                    del self.rows[name]
                    self.met.discard(name)
                continue
            self.met.add(name)
            if held == row:
                continue
            if held is not None and held[0] != row[0]:
                dropped.add((held[0], name))
            self.rows[name] = row
            put.add(name)
        return put, dropped
