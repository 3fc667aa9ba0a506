"""How a hub's methods are declared, and how what a client sends is bound to them.

Pure. Always holds: a method is called with arguments that fit its parameters, or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Awaitable[Any] | AsyncIterator[Any]])

Parameter = Callable[[Any], Any]
"""Takes what came as JSON; Unbound when it does not fit."""


class HubException(Exception):
    """An error whose text reaches the client; that of any other exception does not."""


class Unbound(ValueError):
    """What came does not fit the parameters."""


def anything(value: Any) -> Any:
    """Whatever comes."""
    return value


def text(value: Any) -> str | None:
    """A text, or null."""
    if value is not None and not isinstance(value, str):
        raise Unbound("no text")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unbound("no whole number")
    return value


def guid(value: Any) -> uuid.UUID:
    """A GUID, written with hyphens."""
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise Unbound("no GUID") from error


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a hub. `uploads` are the streams that the client sends; `may_be_short`: a missing last argument is null."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    uploads: tuple[Parameter, ...]
    is_stream: bool
    may_be_short: bool

    def bind(self, arguments: Sequence[Any], *, short: bool) -> list[Any]:
        """The arguments as the parameters have them. `short` says whether `may_be_short` counts. Unbound."""
        given = list(arguments)
        if short and self.may_be_short and len(given) == len(self.parameters) - 1:
            given.append(None)
        if len(given) != len(self.parameters):
            raise Unbound(f"{len(given)} arguments, not {len(self.parameters)}")
        return [parameter(value) for parameter, value in zip(self.parameters, given, strict=True)]


_MARK: Final = "_hub_method"


def method(
    name: str, *parameters: Parameter, uploads: tuple[Parameter, ...] = (), is_stream: bool = False, may_be_short: bool = False
) -> Callable[[F], F]:
    """Offer a coroutine method, or with `is_stream` an async generator, to clients."""

    def mark(function: F) -> F:
        setattr(function, _MARK, Method(name, function, parameters, uploads, is_stream, may_be_short))
        return function

    return mark


def methods_of(hub: type) -> Mapping[str, Method]:
    """What a hub class offers, by names in small letters, for clients may write them as they like."""
    offered = (getattr(getattr(hub, name), _MARK, None) for name in dir(hub))
    return {one.name.lower(): one for one in offered if one is not None}
