"""Options from environment variables, for the `from_env` of every platform.

Pure: the environment is a parameter. A variable that is set to nothing counts as not set; one with the right prefix and an unknown name is
an error that says what may have been meant, as a misspelt option that is silently ignored is the worst kind.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tradesession.errors import ConfigurationError

T = TypeVar("T")

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


def boolean(text: str) -> bool:
    """1, true, yes, on; or 0, false, no, off."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("use true or false")
    return word in TRUE


def is_text(text: str) -> bool:
    """Whether it is Unicode throughout; Python keeps bytes of a variable that are no UTF-8 as lone surrogates, which no wire takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def words(text: str) -> tuple[str, ...]:
    """Several values, separated by commas or white space."""
    return tuple(text.replace(",", " ").split())


def integers(text: str) -> tuple[int, ...]:
    """Several whole numbers, separated by commas or white space."""
    return tuple(int(word) for word in words(text))


def suggestion(name: str, known: list[str]) -> str:
    """A hint at what was meant: the nearest name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(sorted(known))}"


def read_options(environ: Mapping[str, str], prefix: str, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The options set as `PREFIX` + upper-case name, each read by its reader. Raises ConfigurationError naming the variable."""
    known = {prefix + name.upper(): name for name in readers}
    options: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(prefix) or not text:
            continue
        if variable not in known:
            raise ConfigurationError(f"{variable} is no option; {suggestion(variable, list(known))}")
        name = known[variable]
        try:
            options[name] = readers[name](text)
        except ValueError as error:
            raise ConfigurationError(f"{variable} does not hold what it should: {error}") from None
    return options
