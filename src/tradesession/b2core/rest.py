"""Rest: requests to one HTTP interface with the session's bearer.

Moves no bytes itself. Always holds: the bearer goes to the configured addresses alone; what only reads is repeated once after a refused
bearer, and nothing else ever is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from tradesession.b2core.judge import read
from tradesession.errors import InvalidRequest, OutcomeUnknown, ProtocolError, Rejected
from tradesession.protocol.http import HttpRequest, Pairs
from tradesession.secrets import Secret
from tradesession.session.bearer import SAFE_METHODS, BearerHttp

_UNSAFE: Final = ("?", "#", "\\")


class Rest:
    """One interface. `base` gives its address at the time of each request."""

    def __init__(self, client: BearerHttp, base: Callable[[], str]) -> None:
        self._client = client
        self._base = base

    async def get(self, path: str, **query: str | int) -> Any:
        """What is at this path, as JSON gives it, numbers with a point as Decimal; None for an empty answer. Raises as `request` does."""
        return await self.request("GET", path, query=query)

    async def post(self, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        """Send a body, as JSON. An order is never sent twice: only a `repeatable` one is repeated after a refused bearer."""
        return await self.request("POST", path, body=body, repeatable=repeatable)

    async def put(self, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        """As `post`."""
        return await self.request("PUT", path, body=body, repeatable=repeatable)

    async def delete(self, path: str, *, repeatable: bool = False) -> Any:
        """As `post`, without a body."""
        return await self.request("DELETE", path, repeatable=repeatable)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
    ) -> Any:
        """One request. `path` begins with a slash and is relative to the interface; `repeatable` is by default what the method says.

        Raises Rejected for a refusal, NotSent when it did not leave (InvalidRequest among them), and the errors of the token. What only
        reads ends with DeadlineExceeded when no answer came and ProtocolError when it cannot be read; anything else with OutcomeUnknown,
        also when the server failed in the middle or a gateway did not wait for it.
        """
        request = HttpRequest(
            method=method,
            url=self._base() + _checked(path),
            query=tuple((name, str(value)) for name, value in (query or {}).items()),
            body=_encoded(body),
            headers=_JSON if body is not None else _ACCEPT,
        )
        is_repeatable = method in SAFE_METHODS if repeatable is None else repeatable
        reply = await self._client.send(request, repeatable=is_repeatable)
        try:
            return read(reply, request)
        except (Rejected, ProtocolError) as error:
            if is_repeatable or not (reply.is_unclear or isinstance(error, ProtocolError)):
                raise
            said = str(error)
        raise OutcomeUnknown(f"{request} was answered, but not so that it says what became of it ({said}): it may have been executed")


_ACCEPT: Final[Pairs] = (("Accept", "application/json"),)
_JSON: Final[Pairs] = (*_ACCEPT, ("Content-Type", "application/json"))


def _checked(path: str) -> str:
    if not path.startswith("/") or path.startswith("//") or any(character in path for character in _UNSAFE) or not path.isascii():
        raise InvalidRequest(f"{path!r} is no path of the interface: it begins with one slash, and a query is given as query=")
    return path


def _encoded(body: Any) -> Secret | None:
    if body is None:
        return None
    try:
        return Secret(json.dumps(body, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body cannot travel as JSON: {type(error).__name__}; Decimal numbers are sent as text here") from None
