"""The command line as a whole: which commands there are, and how they end.

Always holds: an error is one line on standard error that begins with `error:`, never a traceback, and its exit code is in `exit_codes`.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

import tradesession
from tradesession.cli import tokens
from tradesession.cli.demo import demo
from tradesession.cli.exit_codes import ExitCode, exit_code
from tradesession.cli.output import print_error
from tradesession.cli.platform import Platform
from tradesession.cli.platforms import PLATFORMS
from tradesession.cli.sandbox import sandbox
from tradesession.errors import Error

USAGE_ERROR: Final[type[Exception]] = typer.BadParameter.__bases__[0]
"""The class of everything that is wrong with a command line; where it lives depends on typer's version."""

app = typer.Typer(
    name="tradesession",
    help="Sessions with trading platforms: consent, tokens, handshakes, and a sandbox to try them on.",
    epilog="\n\n".join(["Exit codes:", *(f"{code.value}: {code.meaning}" for code in ExitCode)]),
    add_completion=False,
    pretty_exceptions_enable=False,  # they would show local variables, and those hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tradesession {tradesession.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", envvar="TRADESESSION_VERBOSE", help="Write the library's log to standard error; it holds no secret."
        ),
    ] = False,
) -> None:
    log = logging.getLogger("tradesession")
    log.addHandler(logging.NullHandler())  # else Python prints warnings by itself, and an error has one line
    if verbose:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        log.setLevel(logging.DEBUG)


def _group(name: str, help_text: str, parent: typer.Typer = app) -> typer.Typer:
    group = typer.Typer(name=name, help=help_text)
    parent.add_typer(group)
    return group


def _register(platform: Platform) -> None:
    """Its commands, each in the group of its name."""
    _handshake.command(platform.name)(platform.handshake)
    if platform.login is not None:
        _login.command(platform.name)(platform.login)
    if isinstance(platform.watch, Mapping):
        kinds = _group(platform.name, "Watch what the platform brings.", _watch)
        for kind, command in platform.watch.items():
            kinds.command(kind)(command)
    elif platform.watch is not None:
        _watch.command(platform.name)(platform.watch)
    for name, command in platform.more.items():
        if name not in _more:
            _more[name] = _group(name, (command.__doc__ or "").partition("\n")[0])
        _more[name].command(platform.name)(command)


app.command("sandbox")(sandbox)
app.command("demo", hidden=True)(demo)
_login = _group("login", "Get a person's consent, and store the token.")
_handshake = _group("handshake", "Connect, authenticate, and show each step.")
_watch = _group("watch", "Watch market data as it comes, through every loss.")
_more: Final[dict[str, typer.Typer]] = {}
for _platform in PLATFORMS:
    _register(_platform)
app.add_typer(tokens.commands(), name="tokens")


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments) or ["--help"], prog_name="tradesession", standalone_mode=False) or 0
    except USAGE_ERROR as error:
        print_error(_usage(error))
        return ExitCode.USAGE
    except Error as error:
        print_error(error)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except Exception as error:
        print_error(_unexpected(error))
        return ExitCode.UNEXPECTED
    if code == ExitCode.INTERRUPTED:
        print_error("interrupted")
    return int(code)


def _usage(error: Exception) -> str:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return message.rstrip(".") + hint


def _unexpected(error: Exception) -> str:
    """Kind and place of a mistake of ours; not its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, OSError) and error.errno:
        about = f" ({error.filename})" if isinstance(error.filename, str) else ""
        return f"the system refused: {os.strerror(error.errno)}{about}{place}"
    return f"unexpected {type(error).__name__}{place}: this is a mistake in tradesession, please report it"
