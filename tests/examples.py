"""How many examples hypothesis tries.

Each test has its own number, and the same examples every time, so that a run is quick and says the same twice. With
B3OS_EXAMPLES=n it is n for every test, other ones each time: a long search sees new ground. `make examples` is that for
the compiled cores.
"""

import os

WANTED = int(os.environ.get("B3OS_EXAMPLES") or 0)


def examples(count: int) -> int:
    """Return how many examples a test that is content with `count` tries."""
    return WANTED or count
