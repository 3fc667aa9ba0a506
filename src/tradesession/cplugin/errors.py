"""What CPlugin's REST interface raises beside the errors of `tradesession.errors`.

Pure.
"""

from __future__ import annotations

from typing import Any

from tradesession.errors import OutcomeUnknown, Rejected


class ApiError(Rejected):
    """The API answered with an error.

    `code` is its own word (`Validation`, `NotFound`, `MT4Error`, …, or `HTTP 403` outside its envelope), `manager_code` the trade
    server's word or number, `activity_id` the W3C trace id that the vendor's support asks for, `status` the HTTP status.
    """

    is_untouched: bool = False
    """Whether nothing was, or will be, executed: then anything may be repeated."""

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        manager_code: str | int | None = None,
        activity_id: str = "",
        status: int = 200,
        **more: Any,
    ) -> None:
        told = description
        if manager_code is not None:
            told = f"{manager_code}: {description}" if description else str(manager_code)
        super().__init__(code, told, **more)
        self.description = description
        self.manager_code = manager_code
        self.activity_id = activity_id
        self.status = status


class CallUnknown(OutcomeUnknown):
    """A call that changes something left, and nobody knows whether it was, or will be, executed.

    With an `idempotency_key` `settle()` asks the server, by the same call under the same key: it answers with what it has stored, and runs
    nothing twice. A Reply comes then, or the ApiError that the call ended in, or this error again while the API does not say. Without one,
    look at the trades yourself.
    """

    def __init__(self, message: str, *, idempotency_key: str = "", activity_id: str = "") -> None:
        self.idempotency_key = idempotency_key
        self.activity_id = activity_id
        super().__init__(message)
