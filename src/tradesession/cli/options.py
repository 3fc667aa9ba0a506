"""Options of commands: those of a platform's configuration, from one table for each platform, and those that all commands share.

May use typer alone. An option is given on the command line or by its environment variable; what was not given is not in `Given`, so
that the defaults stand in the configuration and nowhere else.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

import typer

Given: TypeAlias = dict[str, Any]
"""What was given, by the names of the configuration's fields."""

Json: TypeAlias = Annotated[bool, typer.Option("--json", envvar="TRADESESSION_JSON", help="Print one JSON object, and nothing else.")]

GIVEN: Final = "given"
"""The parameter of a command that receives the options of its platform."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a configuration as an option.

    `flag` and `variable` where they are not made of the field's name; `read` turns the text of a repeatable one into its values.
    """

    panel: str
    help: str
    type: type = str
    metavar: str | None = None
    flag: str = ""
    variable: str = ""
    read: Callable[[str], Any] | None = None


STORE: Final = Option(
    "Tokens",
    "Where tokens rest: sqlite:///PATH, postgresql://…, redis://… or memory:  Default: an SQLite file of your own.",
    metavar="URL",
    variable="TRADESESSION_STORE",
)
"""The option that every command has that needs a token store."""


class Options:
    """The options of one platform. `prefix` begins the names of their environment variables."""

    def __init__(self, prefix: str, table: Mapping[str, Option]) -> None:
        self._prefix = prefix
        self._table = table

    def takes(self, *names: str, **fixed: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Give these options to a command, which receives those that were given as its parameter `given`, and `fixed` as they are."""

        def decorate(command: Callable[..., None]) -> Callable[..., None]:
            @functools.wraps(command)
            def wrapper(**values: Any) -> None:
                given = {name: self._read(name, value) for name in names if (value := values.pop(name)) not in (None, [], ())}
                command(**{GIVEN: given}, **fixed, **values)

            own = inspect.signature(command, eval_str=True)
            others = [parameter for name, parameter in own.parameters.items() if name != GIVEN and name not in fixed]
            parameters = [*map(self._parameter, names), *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in others)]
            wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer looks at
            wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
            return wrapper

        return decorate

    def flag(self, name: str) -> str:
        """How the option of a field is written."""
        return self._table[name].flag or "--" + name.replace("_", "-")

    def described(self, name: str) -> str:
        """How to give the option of a field, for a message."""
        return f"{self.flag(name)} (or {self.variables(name)[0]})"

    def variables(self, name: str) -> list[str]:
        """The environment variables of a field; the first that is set counts."""
        own = self._prefix + self.flag(name).removeprefix("--").replace("-", "_").upper()
        return [variable for variable in dict.fromkeys((own, self._prefix + name.upper(), self._table[name].variable)) if variable]

    def _parameter(self, name: str) -> inspect.Parameter:
        option, variables = self._table[name], self.variables(name)
        annotation = list[str] if option.read is not None else option.type
        info = typer.Option(
            self.flag(name),
            envvar=variables if len(variables) > 1 else variables[0],
            metavar=option.metavar,
            help=option.help,
            rich_help_panel=option.panel,
            show_default=False,
        )
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, info])

    def _read(self, name: str, value: Any) -> Any:
        read = self._table[name].read
        if read is None:
            return value
        texts = [os.environ.get(variable, "") for variable in self.variables(name)]
        # typer splits a variable at white space, and how a list is separated is its reader's affair
        text = next((text for text in texts if text.split() == list(value)), ",".join(value))
        try:
            return read(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} cannot be read", param_hint=f"'{self.flag(name)}'") from None
