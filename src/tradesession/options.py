"""Options of every platform's configuration: read from environment variables for `from_env`, and checked.

Pure: the environment is a parameter. A variable that is set to nothing counts as not set; one with the right prefix and an unknown name is
an error that says what may have been meant, as a misspelt option that is silently ignored is the worst kind.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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


def titles(text: str) -> tuple[str, ...]:
    """Several values that may contain spaces, separated by commas."""
    return tuple(title for part in text.split(",") if (title := part.strip()))


def integers(text: str) -> tuple[int, ...]:
    """Several whole numbers, separated by commas or white space."""
    return tuple(int(word) for word in text.replace(",", " ").split())


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "int": int, "float": float, "bool": boolean, "Sequence[int]": integers, "Sequence[str]": titles,
}  # fmt: skip


def suggestion(name: str, known: list[str]) -> str:
    """A hint at what was meant: the nearest name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(sorted(known))}"


def option_names(config: type[DataclassInstance]) -> list[str]:
    """The names of the options of a configuration."""
    return [one.name for one in fields(config) if one.init]


def readers(config: type[DataclassInstance], *without: str) -> dict[str, Callable[[str], Any]]:
    """How each option of a configuration is read, by the annotation of its field. `without` are those that no text can say."""
    return {one.name: _READERS.get(str(one.type), str) for one in fields(config) if one.init and one.name not in without}


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


def refuse_unknown(owner: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigurationError for the first option that the `owner` does not have; it says which may have been meant."""
    names = list(known)
    for name in options:
        if name not in names:
            raise ConfigurationError(f"{name} is no option of {owner}; {suggestion(name, names)}")


# --- checking: each takes a configuration that is being made, and the names of its options ---------------------------------------------


def keep_secret(config: object, *names: str) -> None:
    """Texts become Secrets, and empty ones None; the configuration may be frozen."""
    for name in names:
        value = getattr(config, name)
        object.__setattr__(config, name, Secret(value) if value else None)


def keep_path(config: object, *names: str) -> None:
    """Paths become texts, so that two configurations with the same file are equal; the configuration may be frozen."""
    for name in names:
        value = getattr(config, name)
        if value is not None:
            object.__setattr__(config, name, os.fspath(value))


def require_text(config: object, *names: str) -> None:
    """Raises ConfigurationError for an option that holds bytes which no wire takes."""
    for name in names:
        value = getattr(config, name)
        if not is_text(value.reveal() if isinstance(value, Secret) else value or ""):
            raise ConfigurationError(f"{name} holds bytes that are no UTF-8 text; set it anew")


def require_above_zero(config: object, *names: str) -> None:
    """Raises ConfigurationError for a number that is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:  # so that NaN is refused, too
            raise ConfigurationError(f"{name}={getattr(config, name):g} must be above 0")


def require_one_of(config: object, name: str, known: Sequence[str]) -> None:
    """Raises ConfigurationError for a value that is not among the known ones; it says which was meant."""
    value = getattr(config, name)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        raise ConfigurationError(f"{name}={value!r} is none of {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else ""))
