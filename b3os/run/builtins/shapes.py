"""inputType and outputType of code-transform: a small part of JSON Schema, checked by us. Pure and bounded.

`type` (one or several), `properties`, `required`, `items`, `enum`; other words are ignored. A whole schema validator
would follow references to the network and run the user's regular expressions.
"""

from typing import Any

from b3os.errors import BadInput

MAX_DEPTH = 64
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "list": (list,),
    "string": (str,),
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def check_shape(shape: Any, value: Any, place: str, depth: int = 0) -> None:
    """Raise BadInput naming the first place where a value is not of its shape; no shape admits everything."""
    if isinstance(shape, str):
        shape = {"type": shape}
    if not isinstance(shape, dict) or depth > MAX_DEPTH:
        return
    wanted = shape.get("type")
    kinds = [kind for kind in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(kind, str)]
    if kinds and not any(_is_of(kind, value) for kind in kinds):
        raise BadInput(f"`{place}` is not of the type {' or '.join(kinds)[:200]}", code=400360)
    allowed = shape.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        raise BadInput(f"`{place}` is none of the values of its enum", code=400360)
    if isinstance(value, dict):
        _check_object(shape, value, place, depth)
    if isinstance(value, list) and shape.get("items") is not None:
        for index, item in enumerate(value):
            check_shape(shape["items"], item, f"{place}.{index}", depth + 1)


def _check_object(shape: dict[str, Any], value: dict[str, Any], place: str, depth: int) -> None:
    needed, properties = shape.get("required"), shape.get("properties")
    for name in needed if isinstance(needed, list) else ():
        if name not in value:
            raise BadInput(f"`{place}.{name}` is missing", code=400360)
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        if name in value:
            check_shape(inner, value[name], f"{place}.{name}", depth + 1)


def _is_of(kind: str, value: Any) -> bool:
    if kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())
