from typing import Any

MAX_SOURCE: int
MAX_DEPTH: int
MAX_RESULT: int
MAX_VALUES: int

class Template:
    references: tuple[tuple[str, ...], ...]
    is_constant: bool
    def render(self, scopes: dict[str, Any] | tuple[dict[str, Any], ...]) -> Any: ...

def compile_template(value: Any, *, per_item: str | None = None) -> Template: ...
def render_local(template: str, item: Any) -> str: ...
