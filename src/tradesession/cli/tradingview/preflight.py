"""`tradesession preflight tradingview URL`: examines a broker's server as TradingView will, and shows what it found.

Exits with 0 when no rule is broken and with 1 when one is; with another code when it could not run, also for a mistake of ours, since a
pipeline must not take that for a finding.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from tradesession import preflight as checks
from tradesession.cli.exit_codes import ExitCode
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen, one_line, span
from tradesession.cli.tradingview.options import OPTIONS
from tradesession.errors import ConfigurationError, Error
from tradesession.preflight import Plan, Report, Status
from tradesession.preflight.html import AREAS, render
from tradesession.preflight.plan import DURATION, SAMPLED_SYMBOLS
from tradesession.tradingview import FixedToken, PasswordBearer, ServerOAuth2Bearer
from tradesession.tradingview.config import PREFIX, from_options
from tradesession.tradingview.credentials import Credential

T = TypeVar("T")

FINDINGS: Final = 1
"""The exit code when a rule is broken."""

_STYLES: Final = {Status.PASSED: "green", Status.FAILED: "bold red", Status.WARNING: "yellow", Status.SKIPPED: "dim"}
_MARKS: Final = {Status.PASSED: "ok", Status.FAILED: "FAILED", Status.WARNING: "warning", Status.SKIPPED: "skipped"}

_TOLD_BY: Final = {"password": {"login", "password"}, "server": {"key_file"}, "token": {"token"}}
"""What says that a credential of this kind is meant, where `auth` does not."""

_EXAMINED: Final = (
    *("ca_file", "auth", "token", "login", "password", "authorize_url", "locale"),
    *("token_url", "app_url", "user_id", "client_id", "client_secret", "key_file", "certificate_file", "passphrase"),
    *("grant_type", "audience", "foreign_audience", "x5t", "variant", "assertion_lifetime"),
)
"""The options that say what to be let in with; several ways may be given, and then each is examined."""


@OPTIONS.takes(*_EXAMINED)
def preflight(
    given: Given,
    url: Annotated[str, typer.Argument(envvar=PREFIX + "BASE_URL", metavar="URL", help="What /symbol_info is appended to.")],
    json_only: Json = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page of its own.", dir_okay=False)
    ] = None,
    stream_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="How long the streams are listened to.")] = DURATION,
    symbols: Annotated[int, typer.Option(min=1, help="How many symbols' history is examined.")] = SAMPLED_SYMBOLS,
    wrong_password: Annotated[bool, typer.Option(help="Send a wrong password, once, to see how it is refused.")] = True,
) -> None:
    """Examine a server before somebody else does: the checks that its platform publishes, in less than two minutes."""
    kinds = [given["auth"]] if "auth" in given else [kind for kind, names in _TOLD_BY.items() if given.keys() & names]
    credentials = [from_options(**given | {"base_url": url, "auth": kind}).auth for kind in kinds or [None]]
    plan = Plan(
        base_url=url,
        login=_first(PasswordBearer, credentials),
        key=_first(ServerOAuth2Bearer, credentials),
        token=_first(FixedToken, credentials),
        ca_file=given.get("ca_file"),
        duration=stream_seconds,
        sampled_symbols=symbols,
        wrong_password=wrong_password,
    )
    screen = Screen(as_json=json_only)
    if html is not None:
        _write(html, "")  # before half a minute was spent on what cannot be written down
    try:
        with screen.waiting(f"examining the server, which takes about {span(stream_seconds + 10)}"):
            report = asyncio.run(checks.run(plan))
    except Error:
        raise
    except Exception as error:
        raise Error(
            f"unexpected {type(error).__name__} while examining the server: this is a mistake in tradesession, please report it"
        ) from error
    if html is not None:
        _write(html, render(report))
    _show(report, screen)
    screen.result(report.to_json())
    if report.is_shut_out:
        raise typer.Exit(ExitCode.HUMAN)
    if not report.is_clean:
        raise typer.Exit(FINDINGS)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"--html={str(file)!r} cannot be written ({error.strerror}); name a file in a directory of yours"
        ) from None


def _first(kind: type[T], credentials: list[Credential | None]) -> T | None:
    """The credential of that kind."""
    return next((one for one in credentials if isinstance(one, kind)), None)


def _show(report: Report, screen: Screen) -> None:
    """The rules as a table, area by area; below it, what is wrong."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for area, title in AREAS.items():
        results = [result for result in report.results if result.rule.area == area]
        if results:
            table.add_row("", Text(title, style="bold"), "")
        for result in results:
            reason = f" ({one_line(result.reason)})" if result.reason else ""
            style = _STYLES[result.status]
            table.add_row(Text(_MARKS[result.status], style=style), Text(result.rule.id), Text(result.rule.text + reason, style="dim"))
    screen.console.print(table)
    for status in (Status.WARNING, Status.FAILED):
        for result in report.with_status(status):
            screen.say()
            screen.say(f"{result.rule.id}: {result.rule.text}", _STYLES[status])
            screen.say(f"  by {result.rule.source}", "dim")
            for problem in result.problems:
                at = f" ({one_line(problem.where)})" if problem.where else ""
                screen.say(f"  expected {one_line(problem.expected)}; found {one_line(problem.found)}{at}")
            if result.more:
                screen.say(f"  and {result.more} more")
    counts = ", ".join(f"{len(report.with_status(status))} {status.value}" for status in Status)
    screen.say()
    screen.say(f"{counts}; {report.requests} requests in {span(report.seconds)}", "bold green" if report.is_clean else "bold red")
