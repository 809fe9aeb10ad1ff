"""What is kept of a node besides its result: its input without secrets and not too large, its error cut. Pure."""

from typing import Any

from b3os.errors import BadInput
from b3os.run.builtins.webhooks import masked_headers
from b3os.run.records import NodeError
from b3os.run.sizes import bounded, cut_text


def kept_input(kind: str, input_: Any) -> Any:
    """Return a node's input as its record keeps it; null for one that cannot be encoded."""
    if kind == "send-webhook" and isinstance(input_, dict) and isinstance(input_.get("headers"), dict):
        input_ = {**input_, "headers": masked_headers(input_["headers"])}
    if kind == "for-each":
        return input_  # at most 100 items, and a restored run goes on with them
    try:
        return bounded(input_, "the input")
    except BadInput:
        return None


def kept_error(error: NodeError) -> dict[str, Any]:
    """Return the result of a failed node."""
    fields = {name: getattr(error, name) for name in NodeError.__struct_fields__}
    return {"error": {name: cut_text(value) if isinstance(value, str) else value for name, value in fields.items()}}
