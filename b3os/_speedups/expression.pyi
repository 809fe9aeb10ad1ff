from typing import Any

MAX_SOURCE: int
MAX_DEPTH: int
MAX_RESULT: int

class Template:
    references: tuple[tuple[str, ...], ...]
    is_constant: bool
    def render(self, scope: dict[str, Any]) -> Any: ...

def compile_template(value: Any) -> Template: ...
def render_local(template: str, item: Any) -> str: ...
