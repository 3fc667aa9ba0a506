"""What commands print: progress and results for people on standard output, or one JSON object for machines, never both.

Always holds: nothing that a server wrote reaches the terminal with its control characters, and standard error has one line for one error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text


def one_line(text: object) -> str:
    """A text of whatever origin, fit for one line of a terminal."""
    line = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "?" for character in line)


def print_error(text: object) -> None:
    """The one line on standard error."""
    sys.stdout.flush()
    line = f"error: {one_line(text)}\n"
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(line.encode(encoding, "replace").decode(encoding))
    sys.stderr.flush()


def moment(wall: float | None) -> str | None:
    """A wall-clock time as machines and people can both read it: ISO 8601 in UTC, whole seconds."""
    if wall is None:
        return None
    try:
        return datetime.fromtimestamp(int(wall), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a server may promise any life, and write milliseconds where seconds are meant
        return f"{wall:.4g} s since 1970, in no calendar"


def span(seconds: float) -> str:
    """A duration for a person, in its one or two largest units."""
    if seconds < 0.95:
        return f"{seconds * 1000:.{1 if seconds < 0.00995 else 0}f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


class _Console(Console):
    """Rich's would end the whole process where it finds that nobody reads any more, be it in the middle of a session."""

    def on_broken_pipe(self) -> None:
        """Called while the BrokenPipeError is handled."""
        raise  # noqa: PLE0704 - as it is


class Screen:
    """Standard output. With `as_json` exactly one `result` goes there, and everything else nowhere, or with `narrate` to standard error."""

    def __init__(self, *, as_json: bool = False, narrate: bool = False) -> None:
        self.as_json = as_json
        self.console = _Console(highlight=False, soft_wrap=True, quiet=as_json and not narrate, stderr=as_json)
        plain = not (self.console.encoding or "").lower().startswith("utf")
        self._moving: Status | None = None
        self._tick, self._cross, self._bullet = ("ok", "!!", "*") if plain else ("✓", "✗", "•")

    def say(self, text: str = "", style: str = "") -> None:
        """A line of narration."""
        self.console.print(Text("".join(character if character.isprintable() else "?" for character in text), style=style))

    def text(self, text: str) -> None:
        """Several lines as they are; ours, not a server's."""
        self.console.print(Text(text))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """While the block lasts, something that moves, where somebody may be looking."""
        with self.console.status(Text(one_line(text))) if self.console.is_terminal else nullcontext() as self._moving:
            try:
                yield
            finally:
                self._moving = None

    @contextmanager
    def still(self) -> Iterator[None]:
        """While the block lasts, nothing moves: a person is asked something, and what moves would wipe the question out."""
        moving = self._moving
        if moving is not None:
            moving.stop()
        try:
            yield
        finally:
            if moving is not None and moving is self._moving:
                moving.start()

    def done(self, text: str, seconds: float | None = None) -> None:
        """A step is done; it took so long."""
        line = Text.assemble("  ", (self._tick, "bold green"), " ", one_line(text))
        if seconds is not None:
            line.pad_right(max(0, 74 - line.cell_len))
            line.append(f" {span(seconds):>8}", "dim")
        self.console.print(line)

    def failed(self, text: str) -> None:
        """Something did not succeed."""
        self.console.print(Text.assemble("  ", (self._cross, "bold red"), " ", one_line(text)))

    def item(self, text: str) -> None:
        """One of several things."""
        self.console.print(Text.assemble("  ", (self._bullet, "dim"), " ", one_line(text)))

    def facts(self, facts: Mapping[str, object]) -> None:
        """Names and values, one a line."""
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            shown = "not known" if value is None else one_line(value)
            self.console.print(Text.assemble("  ", (f"{name:<{width}}", "dim"), "  ", shown))

    def result(self, value: Mapping[str, Any]) -> None:
        """The JSON object, where one was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()
