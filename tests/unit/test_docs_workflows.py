"""Every definition of docs/workflows.md could be published, and every code of validation is on that page."""

import json
import re
from pathlib import Path

import pytest

from b3os.chain.chains import load_chains
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import Definition, Node, normalise
from services.api.workflows import problems_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/workflows.md").read_text()
DEFINITIONS = re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)
#: How a code of a problem is written in the source.
CODE = re.compile(r"""problem\(\s*"\w+",\s*"(\w+)"|code = "(\w+)"|code="(\w+)"|"code": "(\w+)"|"payload", "(\w+)"\)""")
RULES = ("b3os/workflow/edges.py", "b3os/workflow/validation.py", "services/api/workflows.py")


def section_of(definition: str) -> str:
    return PAGE[: PAGE.index(definition)].split("\n## ")[-1].split("\n")[0]


def first_column(heading: str) -> set[str]:
    """Return the names in the first column of the table with this heading."""
    table = PAGE.split(heading)[1].split("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("shown", DEFINITIONS, ids=section_of)
def test_definition_can_be_published(shown: str) -> None:
    definition = normalise(json.loads(shown))
    assert problems_of(definition, "An example", load_chains("").keys()) == []
    Compiled(definition)


def test_members_of_definition_and_node_are_all_there() -> None:
    assert first_column("| member of the definition |") == set(Definition.__struct_encode_fields__)
    assert first_column("| member of a node |") == set(Node.__struct_encode_fields__)


def test_every_problem_is_on_the_page() -> None:
    found = {code for name in RULES for groups in CODE.findall((ROOT / name).read_text()) for code in groups if code}
    # Codes of one place that tells two: which of them is decided there.
    found |= {"reference_not_ancestor", "reference_unknown"}
    assert first_column("| code | problem |") == found
