"""`python -m b3os.providers.reference` prints docs/actions.md: every action and connector type, from their structs."""

from collections.abc import Iterator
from typing import Any

from b3os.actions.catalog import Catalog
from b3os.actions.probe import is_probed
from b3os.providers import PROVIDERS


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    return str(schema.get("type", "any"))


def _table(title: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"| {title} | type | |"
    yield "|---|---|---|"
    needed = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        about = str(field.get("description", "")).replace("|", "\\|")
        yield f"| `{name}`{' *' if name in needed else ''} | {_kind(field)} | {about} |"
    yield ""


def page() -> str:
    """Return the whole page."""
    catalog = Catalog(PROVIDERS)
    lines = [
        "# Actions",
        "",
        "Made by `python -m b3os.providers.reference > docs/actions.md`. A star marks a field that is needed.",
        "",
    ]
    for provider in PROVIDERS:
        lines += [f"## {provider.title}", ""]
        for connector in provider.connectors:
            needed = "optional connector" if connector.optional else "connector"
            lines += [f"{needed.capitalize()} `{connector.type}`: {connector.description}", ""]
            lines += _table("secret", catalog.connector_definition(connector.type)["dataSchema"])
        for spec in provider.actions:
            wire = catalog.definition(spec.type)
            connector_text = f", connector `{spec.connector}`" if spec.connector else ""
            health = "tried by the watchdog" if is_probed(spec) else f"not tried: {spec.health.waived}"
            lines += [
                f"### {spec.type}",
                "",
                f"{spec.description} {spec.operation.capitalize()}{connector_text}; {health}.",
                "",
            ]
            lines += _table("payload", wire["payloadSchema"])
            lines += _table("result", wire["resultSchema"])
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
