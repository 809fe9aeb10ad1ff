"""What the docs claim exists, and what exists is in the docs."""

from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from b3os import errors, metrics
from b3os.settings import SETTINGS, Setting, Settings, load_settings
from b3os.stream.events import NAMES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.env)
def test_setting_is_documented(setting: Setting) -> None:
    assert f"| `{setting.env}` |" in (ROOT / "docs/settings.md").read_text()


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
    page = (ROOT / "docs/metrics.md").read_text()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            assert f"`{metric._name}`" in page, "run the generator at the foot of docs/metrics.md"


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
