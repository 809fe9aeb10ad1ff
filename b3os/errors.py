"""Every error of B3OS, as one tree.

    B3osError
    ├── BadInput             400  the caller's fault; do not retry unchanged (422: a key that was used for another body)
    │   ├── InvalidDefinition     a definition with its list of problems
    │   └── ExpressionError       a template that cannot be parsed or resolved
    ├── Unauthenticated      401
    ├── Forbidden            403
    ├── NotFound             404  absent, or of another organization: never told apart
    ├── Conflict             409  state or version moved on
    ├── TooLarge             413
    ├── TooMany              429  retry after a while
    ├── ActionFailed         502  an action said no; carries category, remediation, retryable
    ├── Unavailable          503  our dependency is down; retry
    ├── BudgetExceeded       400  a loop or node limit
    └── StaleEpoch           409  another owner has the lease; stop at once

Two questions decide the base: whose fault is it, may we retry. `code` is six digits, the first three an HTTP
status; it is stable, documented in docs/errors.md, and never reused.
"""

from typing import Any


class B3osError(Exception):
    """Base of every error that we raise ourselves. `message` is for a person and ends with what to do."""

    code = 500000
    retryable = False

    def __init__(self, message: str, *, code: int | None = None, details: list[Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []
        if code is not None:
            self.code = code

    @property
    def status(self) -> int:
        """The HTTP status: the first three digits of the code."""
        return self.code // 1000


class BadInput(B3osError):
    code = 400000


class InvalidDefinition(BadInput):
    code = 400228


class ExpressionError(BadInput):
    """A template that cannot be parsed or rendered. `column` counts characters from 0; whoever knows `node` sets it."""

    code = 400300

    def __init__(self, message: str, *, column: int = 0, field: str = "", code: int | None = None) -> None:
        super().__init__(message, code=code)
        self.column = column
        self.field = field
        self.node = ""

    def at_node(self, node: str) -> "ExpressionError":
        """Name the node whose payload this is, in the message too."""
        self.node = node
        self.message = f"node {node}: {self.message}"
        self.args = (self.message,)
        return self


class BudgetExceeded(BadInput):
    """A run went past a limit: `limit` is `iterations`, `nodes` or `depth`."""

    code = 400301

    def __init__(self, *, limit: str, allowed: int, node: str = "") -> None:
        super().__init__(f"{limit} budget of {allowed} exceeded at node {node or '?'}: split the workflow or the list")
        self.limit = limit
        self.allowed = allowed
        self.node = node


class Unauthenticated(B3osError):
    code = 401000


class Forbidden(B3osError):
    code = 403000


class NotFound(B3osError):
    code = 404000


class Conflict(B3osError):
    code = 409000


class StaleEpoch(Conflict):
    """A newer owner holds the lease: whoever sees this stops at once and writes nothing."""

    code = 409001


class TooLarge(B3osError):
    code = 413000


class TooMany(B3osError):
    """A limit of calls or listeners: the caller may come again in `retry_after_s` seconds."""

    code = 429000
    retryable = True

    def __init__(self, message: str, *, code: int | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class ActionFailed(B3osError):
    """An action failed. `category`: funds, amount, config, auth, network, service, onchain, validation or internal."""

    code = 502000

    def __init__(
        self,
        message: str,
        *,
        error_code: str = "API_ERROR",
        category: str = "service",
        remediation: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.category = category
        self.remediation = remediation
        self.retryable = retryable


class Unavailable(B3osError):
    code = 503000
    retryable = True
