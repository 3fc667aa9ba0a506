"""What a platform brings to the command line: its commands, and how it introduces itself. One object each, registered in `platforms`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tradesession.cli.options import Given, Options
from tradesession.session.services import PlatformConfig
from tradesession.tokens.token import Slot

if TYPE_CHECKING:
    from tradesession.cli.stage import Stage
    from tradesession.sandbox import Sandbox

Command: TypeAlias = Callable[..., None]
Described: TypeAlias = dict[str, Any]
"""A platform's part of what `tradesession sandbox --json` prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the `tokens` commands need of a platform whose tokens rest in the store.

    `slot_options` name a grant in the store and the store itself, `grant_options` suffice to renew its token. Where the options `named_by`
    are all given, they name the slot; else it is the only one in the store, of those called `level` where a platform has several.
    """

    name: str
    options: Options
    slot_options: tuple[str, ...]
    grant_options: tuple[str, ...]
    slot: Callable[[Given], Slot]
    config: Callable[[Given], PlatformConfig[Any]]
    named_by: tuple[str, ...] = ("client_id",)
    level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandboxed:
    """What a platform's sandbox shows of itself.

    `rows` are labels and values for a person, `variables` what a bot has to find in its environment, to be let in by the sandbox and to
    leave the real platform alone. `demo` plays the platform's part of `scripts/demo`.
    """

    rows: Callable[[Described], list[tuple[str, str]]]
    variables: Callable[[Described], dict[str, str]]
    demo: Callable[[Sandbox, Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One platform on the command line. What it has not, it has no command for.

    `watch` is one command, or several by what they watch. `more` are commands of its own, by their names.
    """

    name: str
    handshake: Command
    watch: Command | Mapping[str, Command] | None = None
    login: Command | None = None
    stored: Stored | None = None
    sandboxed: Sandboxed | None = None
    more: Mapping[str, Command] = field(default_factory=dict)
