"""JSON as the real server reads and writes it: digits kept, surrogate pairs and control characters escaped, nesting limited.

Pure. Always holds: what is written contains no byte 0x1E, and what was read is written as it came, but for spaces and escapes.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
"""Objects and lists within one another."""

_ESCAPES_AND_FOREIGN: Final = re.compile(r"\\(?:u[0-9a-f]{4}|.)|[^\x00-\x7e]")


class BadJson(ValueError):
    """Not what the server takes for JSON."""


class Digits:
    """A number that a float would not give back as it came."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Digits) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # never a key

    def __float__(self) -> float:
        return float(self.text)

    def __repr__(self) -> str:
        return self.text


def read(data: bytes) -> Any:
    """What the bytes say; the server does not look at what comes after the value. BadJson."""
    try:
        value, _ = _DECODER.raw_decode(data.decode("utf-8").lstrip(_SPACES))
    except (ValueError, RecursionError) as error:
        raise BadJson(str(error)) from None
    _check(value, 0)
    return value


def write(value: Any) -> str:
    """As the server writes it. TypeError for what JSON has no form for."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict:
        return "{" + ",".join([f"{_name(name)}:{write(member)}" for name, member in value.items()]) + "}"
    if kind is float:
        return repr(int(value)) if value.is_integer() and abs(value) < _WHOLE else repr(value)
    if kind is int or kind is Digits:
        return repr(value)
    if kind is list or kind is tuple:
        return "[" + ",".join([write(member) for member in value]) + "]"
    if value is None or kind is bool:
        return _CONSTANTS[value]
    raise TypeError(f"{kind.__name__} has no form in JSON")


_CONSTANTS: Final = {None: "null", True: "true", False: "false"}
_WHOLE: Final = 1e15
"""Below that the server writes 1.0 as 1."""


def _quoted(text: str) -> str:
    quoted: str = encode_basestring(text)
    if quoted.isascii() and "\\" not in quoted and "\x7f" not in quoted:
        return quoted
    return _ESCAPES_AND_FOREIGN.sub(_escape, quoted)


_name: Final = functools.lru_cache(1024)(_quoted)
"""Names of members are the same again and again."""


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if found.startswith("\\u"):
        return "\\u" + found[2:].upper()
    if found.startswith("\\"):
        return found
    if ord(found) > 0xFFFF:
        high, low = divmod(ord(found) - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04X}\\u{0xDC00 + low:04X}"
    return f"\\u{ord(found):04X}" if unicodedata.category(found) in _ESCAPED or found == _BYTE_ORDER_MARK else found


_BYTE_ORDER_MARK: Final = "\ufeff"
_ESCAPED: Final = frozenset({"Cc", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Categories of characters that the server does not write as they are."""


def _number(text: str) -> float | Digits:
    value = float(text)
    return value if write(value) == text else Digits(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _whole(text: str) -> int | Digits:
    return Digits(text) if text == "-0" else int(text)


_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_int=_whole, parse_constant=_refuse)
_SPACES: Final = " \t\r\n"


def _check(value: Any, depth: int) -> None:
    """Nesting, and texts with half a surrogate pair."""
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise BadJson(str(error)) from None
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise BadJson(f"more than {MAX_DEPTH} levels")
        for member in value:
            _check(member, depth + 1)
        if isinstance(value, dict):
            for member in value.values():
                _check(member, depth + 1)
