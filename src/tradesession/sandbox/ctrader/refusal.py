"""How a part of the sandbox says no: one exception that becomes one error reply.

Pure. The codes are names of the error enums of the fact sheet, section 6; on the wire they travel as strings.
"""

from __future__ import annotations

from typing import Final

NOT_AUTHORIZED: Final = "Trading account is not authorized"
"""The text by which clients recognise the case: the code is the catch-all INVALID_REQUEST (section 5.3)."""


class Refusal(Exception):
    """A request is answered with an error. `retry_after` and `maintenance_end` are in seconds; `close` ends the connection after it."""

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        account_id: int | None = None,
        retry_after: int | None = None,
        maintenance_end: int | None = None,
        close: str = "",
        order_id: int | None = None,
        position_id: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.account_id = account_id
        self.retry_after = retry_after
        self.maintenance_end = maintenance_end
        self.close = close
        self.order_id = order_id
        self.position_id = position_id
        self.is_of_order = False
        """Whether it answers an order request that was understood: such refusals have messages of their own."""


class GrantRefused(Exception):
    """A code or refresh token is not exchanged. `error` is the RFC 6749 name of the reason; `description` says it in words."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
