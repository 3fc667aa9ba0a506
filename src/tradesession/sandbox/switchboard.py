"""What the faults of every platform have in common: switches that hold until they are taken back, by attribute and by name.

Pure. A platform's switches are the fields of a dataclass made with `switch`; each name also works on the command line. Always holds: an
unknown name and a value that does not fit are refused with what was meant.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tradesession.clock import Clock
from tradesession.errors import ConfigurationError

Reader = Callable[[str], object]
"""Reads the value of a switch from the command line; ValueError or KeyError for one that does not fit."""

Kind = tuple[Reader, str]
"""How a value is read, and in which form it is to be given."""

_FLAGS: Final = {"": True, "1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}

SECONDS: Final[Kind] = (float, "a number of seconds")
NUMBER: Final[Kind] = (int, "a whole number")


def as_flag(value: str) -> bool:
    """On or off; nothing means on."""
    return _FLAGS[value.lower()]


FLAG: Final[Kind] = (as_flag, "on or =off, or without a value")


def text(form: str) -> Kind:
    """A text that must not be empty; `form` says what is expected."""

    def read(value: str) -> str:
        if not value:
            raise ValueError(value)
        return value

    return read, form


def choice(*choices: str) -> Kind:
    """One of these."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return read, " or ".join(choices)


def switch(default: object, help: str, kind: Kind, *, name: str = "", from_now: bool = False) -> Any:  # noqa: A002 - what it is
    """A switch. `name` is that of the command line where it differs from the attribute's; `from_now` adds the clock's time."""
    return dataclasses.field(default=default, metadata={"help": help, "kind": kind, "name": name, "from_now": from_now})


def _nothing() -> None:
    """What a change does while nobody wants to know."""


@dataclass(slots=True)
class Switchboard:
    """The switches of a platform, in a subclass. Set one, take it back by its default, or `clear()` all."""

    _clock: Clock = dataclasses.field(repr=False)
    _on_change: Callable[[], None] = dataclasses.field(default=_nothing, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            self._on_change()

    @classmethod
    def names(cls) -> Mapping[str, dataclasses.Field[Any]]:
        """The switches by their names on the command line."""
        return {field.metadata["name"] or field.name.replace("_", "-"): field for field in dataclasses.fields(cls) if field.metadata}

    @classmethod
    def known(cls) -> dict[str, str]:
        """Every name of a fault with a line on what it does."""
        return {name: field.metadata["help"] for name, field in cls.names().items()}

    def clear(self) -> None:
        """Take every switch back."""
        for field in self.names().values():
            setattr(self, field.name, field.default)

    def set(self, name: str, value: str = "") -> None:
        """Set a switch by its name on the command line. ConfigurationError for an unknown name or a value that does not fit."""
        names = self.names()
        field = names.get(name.replace("_", "-"))
        if field is None:
            raise ConfigurationError(unknown_fault(name, names))
        read, form = field.metadata["kind"]
        try:
            meant = read(value)
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"fault {name!r} cannot be {value!r}: give it as {name}={form}") from error
        setattr(self, field.name, self._clock.monotonic() + meant if field.metadata["from_now"] else meant)


def unknown_fault(name: str, names: Mapping[str, object]) -> str:
    """What to say about a name that is none."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown fault {name!r}: {hint}there are {', '.join(names)}"
