"""What the docs claim exists, and what exists is in the docs."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from b3os import errors, metrics
from b3os.detect.catalog import TRIGGER_TYPES
from b3os.providers import PROVIDERS
from b3os.settings import SETTINGS, Setting, Settings, load_settings
from b3os.stream.events import NAMES
from bench.__main__ import SUITES, gates_of

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
#: How a page is named without a link.
MENTION = re.compile(r"(?<![\w/.])docs/[\w-]+\.md")


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    text = page.read_text()
    linked = {link.split("#")[0] for link in LINK.findall(text) if "://" not in link}
    for target in [page.parent / link for link in linked] + [ROOT / name for name in MENTION.findall(text)]:
        assert target.exists(), f"{page.name} points at {target}, which is not there"


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_every_page_is_linked_from_the_index(index: str) -> None:
    found = {(ROOT / index).parent / link for link in LINK.findall((ROOT / index).read_text())}
    assert {page for page in PAGES if page != ROOT / index} <= found


def test_the_first_page_names_what_fires_and_whom_it_talks_to() -> None:
    text = (ROOT / "README.md").read_text()
    for name in [*TRIGGER_TYPES, *(provider.name for provider in PROVIDERS if provider.actions)]:
        assert f"`{name}`" in text, f"name {name} in README.md, under what it does today"


def test_folders_and_files_of_the_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:b3os|services|tests|bench|demo|migrations)(?:/[\w.*/-]*)?)`", text)
    assert len(named) > 20
    for name in named:
        assert list(ROOT.glob(name)), f"ARCHITECTURE.md names {name}, which is not there"


def test_the_code_map_has_every_package() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Code map")[1].split("\n## ")[0]
    packages = [path.parent for folder in ("b3os", "services") for path in (ROOT / folder).glob("*/__init__.py")]
    for package in packages:
        assert f"`{package.relative_to(ROOT)}`" in table, f"the code map lacks {package.relative_to(ROOT)}"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.env)
def test_setting_is_documented(setting: Setting) -> None:
    default = getattr(Settings(), setting.field)
    shown = f"`{default}`" if default != "" else ""
    assert f"| `{setting.env}` | {shown} | {setting.help} |\n" in (ROOT / "docs/settings.md").read_text()


def test_every_field_of_settings_is_declared() -> None:
    assert {s.field for s in SETTINGS} == set(Settings.__struct_fields__)


def test_a_wrong_setting_names_its_variable() -> None:
    with pytest.raises(errors.BadInput, match="B3OS_PORT"):
        load_settings({"B3OS_PORT": "eighty"})


def all_errors(base: type[errors.B3osError]) -> list[type[errors.B3osError]]:
    return [base, *(e for sub in base.__subclasses__() for e in all_errors(sub))]


@pytest.mark.parametrize("error", all_errors(errors.B3osError), ids=lambda e: e.__name__)
def test_error_code_is_documented(error: type[errors.B3osError]) -> None:
    assert str(error.code) in (ROOT / "docs/errors.md").read_text()


def test_every_metric_is_documented() -> None:
    rows = [line for line in (ROOT / "docs/metrics.md").read_text().splitlines() if line.startswith("| `")]
    made = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    for metric in made:
        begins = f"| `{metric._name}` | {', '.join(metric._labelnames)} | "
        assert sum(row.startswith(begins) for row in rows) == 1, f"docs/metrics.md has one row {begins}… |"
    assert len(rows) == len(made)


def test_lock_names_every_dependency() -> None:
    locked = (ROOT / "requirements.lock").read_text()
    for line in (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("]\n")[0].splitlines():
        name = line.strip().strip('",').split(">")[0].split("[")[0]
        if name:
            assert f"\n{name}==" in f"\n{locked}", f"run `make lock`: {name} is not in requirements.lock"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


def test_every_run_event_is_documented() -> None:
    page = (ROOT / "docs/events.md").read_text()
    for name in NAMES:
        assert f"`{name}`" in page


@pytest.mark.parametrize("suite", [*SUITES, "peers.rows"])
def test_every_gate_is_documented(suite: str) -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    for gate in gates_of(suite):
        name = f"{gate.name}, {gate.unit}" if gate.unit else gate.name
        bar = f"{'>=' if gate.at_least else '<='} {gate.bar:g}"
        row = f"| {suite.partition('.')[0]} | {name} | {bar} | {'yes' if gate.is_quick else ''} | {gate.reason} |\n"
        assert row in page, f"docs/benchmarks.md lacks {row}"


def test_every_failure_of_a_chain_that_is_listed_has_a_test() -> None:
    listed = re.findall(r"^\| (\d+) \| ", (ROOT / "docs/chains.md").read_text(), re.MULTILINE)
    tests = (ROOT / "tests/services/test_chain_failures.py").read_text()
    assert listed == [str(number) for number in range(1, 25)]
    assert not [number for number in listed if f"def test_{int(number):02}_" not in tests]
