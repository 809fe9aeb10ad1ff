"""The obvious model of paths: what `{{a.b.0 || 'x'}}` means, without speed. Compared with the compiled core."""

from typing import Any


def walk(path: list[str], value: Any) -> Any:
    for segment in path:
        if isinstance(value, dict):
            value = value.get(segment)
        elif isinstance(value, list) and segment.isdigit() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return None
    return value


def first_present(paths: list[list[str]], scope: dict[str, Any]) -> Any:
    return next((found for path in paths if (found := walk(path, scope)) is not None), None)
