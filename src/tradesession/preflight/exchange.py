"""One request and what came of it, as a plain value: also when nothing came, or nonsense.

Pure. Everything here may be asked of any exchange, and nothing raises: what is not there is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn


@dataclass(frozen=True)
class Exchange:
    """`what` names the request for a person, without secrets. `error` says why there is no whole answer, and is empty when there is one."""

    what: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    sent_at: float = 0.0
    """Wall-clock seconds."""
    done_at: float = 0.0

    @property
    def content_type(self) -> str:
        """The media type in lower case, with its parameters; empty when the server named none."""
        return self.headers.get("content-type", "").lower()

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when it is none (or null, which is as good as none here)."""
        return parse(self.body) if not self.error else None

    @property
    def reply(self) -> dict[str, Any] | None:
        """The body where it is a JSON object."""
        return self.json if isinstance(self.json, dict) else None

    @property
    def s(self) -> object:
        """The envelope's `s`."""
        return None if self.reply is None else self.reply.get("s")

    @property
    def is_ok(self) -> bool:
        """HTTP 200 and an envelope that says ok."""
        return self.status == 200 and self.s == "ok"

    def described(self) -> str:
        """What came, in a few words that quote no value but the error text."""
        if self.error:
            return self.error
        if self.reply is None:
            kind = (
                "nothing"
                if not self.body
                else "JSON that is no object"
                if self.json is not None
                else f"{len(self.body)} bytes that are no JSON"
            )
            return f"HTTP {self.status} with {kind}"
        said = f", s={brief(self.s)}" if "s" in self.reply else ""
        text = f", errmsg={brief(self.reply['errmsg'])}" if self.s == "error" and "errmsg" in self.reply else ""
        return f"HTTP {self.status}{said}{text}"


def parse(data: bytes) -> Any:
    """JSON as it is written down in RFC 8259, where NaN and Infinity are none; None for anything else."""
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def brief(value: object, limit: int = 80) -> str:
    """A value for a report: JSON on one line, not too long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_number(value: object) -> bool:
    """Whether it is a JSON number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether it is a whole JSON number, written as one."""
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
