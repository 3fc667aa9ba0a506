"""What the pages say of options and of the environment is what there is: nothing is left out, and nothing is made up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import pytest
from typer.main import get_command

from tradesession import b2core, cplugin, ctrader
from tradesession.cli.app import app
from tradesession.options import option_names
from tradesession.tokens.encryption import KEY_VARIABLE
from tradesession.tokens.stores import SCHEMES, URL_VARIABLE
from tradesession.tradingview.config import PREFIX, READERS

DOCS = Path(__file__).parents[2] / "docs"
OPTIONS: dict[str, Iterable[str]] = {
    "ctrader": option_names(ctrader.Config),
    "cplugin": option_names(cplugin.Config),
    "tradingview": [*READERS, "ssl_context", "clock"],
    "b2core": option_names(b2core.Config),
}


@pytest.mark.parametrize("platform", OPTIONS)
def test_the_page_of_a_platform_lists_every_option_once(platform: str) -> None:
    table = (DOCS / f"{platform}.md").read_text(encoding="utf-8").split("\n| option | meaning |", 1)[1].split("\n\n", 1)[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(listed) == sorted(OPTIONS[platform])


def test_the_page_about_tokens_lists_every_variable_and_every_kind_of_store() -> None:
    page = (DOCS / "tokens.md").read_text(encoding="utf-8")
    rows = page.split("\n| variable | for |", 1)[1].splitlines()[2:]
    listed = {name for row in rows for name in re.findall(r"`(TRADESESSION_\w+?)_?(?:…)?`", row.split(" | ")[0])}
    platforms = {f"TRADESESSION_{platform.upper()}" for platform in OPTIONS}
    assert listed == {URL_VARIABLE, KEY_VARIABLE, "TRADESESSION_VENV"} | platforms | _general_variables()
    stores = page.split("\n| URL | what |", 1)[1].split("\n\n", 1)[0]
    assert [scheme for scheme in SCHEMES if f"`{scheme}:" not in stores] == ["postgres"]  # which is postgresql


def test_the_page_about_preflight_lists_every_option_with_its_variable() -> None:
    page = (DOCS / "preflight.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in page.split("\n| option |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]]
    listed = {option: variable for row in rows for option, variable in zip_longest(_words(row[0]), _words(row[1]))}
    command = get_command(app).commands["preflight"].commands["tradingview"]  # type: ignore[attr-defined]  # groups have them
    there: dict[str, str | None] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            name = parameter.secondary_opts[0] if parameter.secondary_opts else parameter.opts[0]
            there[name] = parameter.envvar.removeprefix(PREFIX) if parameter.envvar and PREFIX in parameter.envvar else None
    assert {option: variable for option, variable in listed.items() if option is not None and option.startswith("--")} == there


def _words(cell: str) -> list[str]:
    return re.findall(r"`([\w-]+)`", cell)


def _general_variables() -> set[str]:
    """Those of the command line that are no platform's, by walking through all of its commands."""
    found: set[str] = set()

    def walk(command: object) -> None:
        for parameter in getattr(command, "params", ()):
            names = parameter.envvar or ()
            found.update([names] if isinstance(names, str) else names)
        for inner in getattr(command, "commands", {}).values():
            walk(inner)

    walk(get_command(app))
    return {name for name in found if name.split("_")[1].lower() not in OPTIONS}
