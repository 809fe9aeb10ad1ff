"""The drawing in ARCHITECTURE.md is the table."""

import re
from pathlib import Path

from b3os.run.transitions import NODE, NODE_FINAL, RUN, RUN_FINAL

PAGE = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()


def drawn(name: str) -> dict[tuple[str, str], str]:
    block = PAGE.split(f'state "{name}" as {name} {{')[1].split("}")[0]
    found = re.findall(r"^\s*(\w+) --> (\w+): (.+)$", block, re.MULTILINE)
    return {(start, to): why for start, to, why in found}


def test_drawing_and_table_are_the_same() -> None:
    assert drawn("node") == NODE
    assert drawn("run") == RUN


def test_what_ends_ends() -> None:
    assert {"success", "failure", "skipped"} == NODE_FINAL
    assert {"success", "failure", "cancelled"} == RUN_FINAL
