"""Events: who gets which message that answers no request.

No sockets, no tasks. The way of every quote leads through here, so it is short: what nobody wants is not even decoded. Always holds:
whoever is added hears of every message of that type from then on, in wire order, until he is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from tradesession.ctrader import registry
from tradesession.ctrader.routing import HEARTBEAT
from tradesession.session.link import Envelope

L = TypeVar("L")

Sink = Callable[[Any], None]


class _Route(NamedTuple):
    parse: Callable[[bytes], Message]
    is_control: bool
    sinks: tuple[Sink, ...]


class Events(Generic[L]):
    """`control` are the classes that also concern the line they came by: `on_control` gets both, before anybody else hears of the message.

    `on_unknown` is told what was passed by that nobody could have wanted, in words.
    """

    def __init__(
        self, control: Iterable[type[Message]], on_control: Callable[[L, Message], None], on_unknown: Callable[[str], None]
    ) -> None:
        self._on_control = on_control
        self._on_unknown = on_unknown
        self._routes: dict[int, _Route] = {
            registry.payload_type_of(cls): _Route(cls.FromString, is_control=True, sinks=()) for cls in control
        }

    def add(self, event: type[Message], sink: Sink) -> None:
        """Events of this class go to `sink` too, unless they do already; it must neither wait nor raise."""
        number = registry.payload_type_of(event)
        route = self._routes.get(number) or _Route(event.FromString, is_control=False, sinks=())
        if sink not in route.sinks:
            self._routes[number] = route._replace(sinks=(*route.sinks, sink))

    def remove(self, event: type[Message], sink: Sink) -> None:
        """No more of them go to `sink`."""
        number = registry.payload_type_of(event)
        route = self._routes[number]
        route = self._routes[number] = route._replace(sinks=tuple(other for other in route.sinks if other != sink))
        if not route.sinks and not route.is_control:
            del self._routes[number]

    def received(self, line: L, incoming: Envelope) -> None:
        """A message that answers no request came by this line."""
        number, _, body = incoming
        route = self._routes.get(number)
        if route is None:
            self._unwanted(number)
            return
        parse, is_control, sinks = route
        try:
            message = parse(body)
        except DecodeError:
            self._on_unknown(f"{registry.name_of(number)} that cannot be decoded")
            return
        if is_control:
            self._on_control(line, message)
        for sink in sinks:
            sink(message)

    def _unwanted(self, number: int) -> None:
        """Events that nobody wants are passed by in silence, and so are heartbeats; what is neither is told of."""
        if number != HEARTBEAT and not registry.is_event(registry.CLASSES.get(number, Message)):
            self._on_unknown(f"{registry.name_of(number)} that nobody asked for")
