"""Every action is complete: words on every field, one way to be carried out, a probe or why there is none."""

from pathlib import Path

import msgspec
import pytest

from b3os.actions.catalog import Catalog
from b3os.actions.http_call import filled
from b3os.actions.probe import is_probed
from b3os.actions.spec import ActionSpec, ContractCall, HttpCall, Operation
from b3os.providers import PROVIDERS
from b3os.providers.reference import page

CATALOG = Catalog(PROVIDERS)
SPECS = pytest.mark.parametrize("spec", CATALOG.specs.values(), ids=lambda spec: spec.type)


@SPECS
def test_words(spec: ActionSpec) -> None:
    wire = CATALOG.definition(spec.type)
    assert spec.title
    assert spec.description.endswith(".")
    for schema in (wire["payloadSchema"], wire["resultSchema"]):
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{spec.type}.{name} has no description"


@SPECS
def test_health(spec: ActionSpec) -> None:
    assert is_probed(spec) or spec.health.waived
    if is_probed(spec):
        msgspec.convert(spec.health.sample, spec.payload, strict=False)


@SPECS
def test_declarations_name_fields_that_exist(spec: ActionSpec) -> None:
    fields = set(spec.payload.__struct_fields__)
    if isinstance(spec.call, HttpCall):
        named = {*spec.call.query.values(), *spec.call.body.values(), *spec.call.echo.values()}
        assert named <= fields
        values = dict.fromkeys(fields, "x")
        assert "{" not in filled(spec.call.path, values, {"botToken": "t"})
        assert spec.operation is (Operation.READ if spec.call.method == "GET" else Operation.WRITE)
        assert CATALOG.provider(spec.type).base_url.startswith("https://")
        wired = {field.encode_name for field in msgspec.structs.fields(spec.result)}
        assert {name.split(".")[0] for name in (*spec.call.fields, *spec.call.echo)} <= wired
    if isinstance(spec.call, ContractCall):
        assert {spec.call.to, *spec.call.args, *spec.call.echo.values(), "chain_id"} <= fields


@SPECS
def test_connectors_are_known(spec: ActionSpec) -> None:
    assert spec.connector in (None, "wallet", *CATALOG.connectors)


def test_connector_types_say_what_they_hold() -> None:
    for name in CATALOG.connectors:
        shown = CATALOG.connector_definition(name)
        assert shown["description"]
        assert all(field["description"] for field in shown["dataSchema"]["properties"].values())


def test_the_page_is_current() -> None:
    kept = (Path(__file__).parent.parent / "docs/actions.md").read_text()
    assert kept == page(), "run python -m b3os.providers.reference > docs/actions.md"
