"""What a proxy does to its connections for as long as a switch is on.

Pure. Bytes and seconds unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tradesession.errors import ConfigurationError

Direction = Literal["to_client", "to_server"]
"""Which way bytes go through a proxy."""

Ending = Literal["reset", "finish"]
"""How a connection is ended: at once by a reset, or in order by the end of the stream."""

Side = Literal["client", "server"]
"""The two peers of a proxied connection."""


def _nothing(name: str) -> None:
    """What a change does while nobody wants to know."""


@dataclass(slots=True)
class Switches:
    """Those of one connection. Set one, take it back by its default, or `clear()` all; the defaults let everything pass as it comes.

    Raises ConfigurationError for a number below 0 and, in `update`, for a name that is no switch.
    """

    _on_change: Callable[[str], None] = dataclasses.field(default=_nothing, init=False, repr=False, compare=False)

    # --- time and size ---
    latency: float = 0.0
    """How much later everything arrives, in either direction."""
    jitter: float = 0.0
    """Up to that much more, at random; what was sent first still arrives first."""
    slice: int = 0
    """Everything is passed on in pieces of at most that many bytes, each to be read by itself; 0 is as it comes."""
    bandwidth: float = 0.0
    """Bytes a second in each direction; 0 is no limit."""

    # --- silence ---
    half_open: bool = False
    """Nothing passes in either direction, and both sockets stay open. A connection that has lost something by it stays half-open."""
    deaf_to_client: bool = False
    """Nothing is read from the client, so that its buffers fill; what it sent arrives when the switch is taken back."""
    deaf_to_server: bool = False
    """The same towards the server."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, int | float) and value < 0:
            raise ConfigurationError(f"{name}={value!r} is below 0; 0 switches it off")
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            self._on_change(name)

    @property
    def passes_as_it_comes(self) -> bool:
        """Whether nothing is delayed or cut into pieces."""
        return not (self.latency or self.jitter or self.slice or self.bandwidth)

    def watch(self, on_change: Callable[[str], None]) -> None:
        """Be told the name of every switch that is set from now on."""
        self._on_change = on_change

    def update(self, **values: Any) -> None:
        """Set several."""
        known = self.values()
        for name, value in values.items():
            if name not in known:
                raise ConfigurationError(f"{name!r} is no switch here; there are {', '.join(known)}")
            setattr(self, name, value)

    def clear(self) -> None:
        """Take every switch back."""
        self.update(**type(self)().values())

    def values(self) -> dict[str, Any]:
        """Every switch by its name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if not field.name.startswith("_")}


@dataclass(slots=True)
class ProxySwitches(Switches):
    """Those of a proxy: set for all its connections, and for those to come."""

    # --- connecting ---
    refuse: bool = False
    """Nobody listens: connections are refused."""
    unaccepted: bool = False
    """Connections are not accepted: the operating system holds the first, which hear nothing, and later ones do not come about."""
    blackhole: bool = False
    """New connections are accepted, everything is swallowed, and nothing is ever said."""

    # --- at a byte of every new connection ---
    cut_to_client: int | None = None
    """It is cut when that many bytes have gone to the client; with 0 as soon as it stands."""
    cut_to_server: int | None = None
    """The same for what goes to the server."""
    ending: Ending = "reset"
    """How those two end it."""
    garbage_to_client: int | None = None
    """Random bytes are put in when that many bytes have gone to the client."""
    garbage_to_server: int | None = None
    """The same for what goes to the server."""
