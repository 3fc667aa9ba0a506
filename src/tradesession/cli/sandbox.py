"""`tradesession sandbox`: the local servers as a program of their own.

With --json, standard output carries exactly one line, written when every server listens; everything else goes to standard error.
Serves until SIGINT or SIGTERM and then exits with 0, leaving nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tradesession.cli.platform import Described, Sandboxed
from tradesession.cli.platforms import PLATFORMS
from tradesession.sandbox import Sandbox, known_faults


def sandbox(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when all servers listen, and nothing else.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Listen on ports without TLS too.")] = False,
    seed: Annotated[int, typer.Option(help="Accounts, ids, tokens and prices are the same for the same seed.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Something that goes wrong, everywhere or as PLATFORM.NAME; may be repeated. `help` lists them."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The loopback address to listen on.")] = "127.0.0.1",
) -> None:
    """Run local servers that behave like the platforms: to try things out, and to test bots against."""
    if "help" in (fault or ()):
        _list_faults()
        return
    asyncio.run(_serve(Sandbox(seed, plain=plain, host=host), fault or [], as_json=as_json))


async def _serve(servers: Sandbox, faults: list[str], *, as_json: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with servers:
        for assignment in faults:
            name, _, value = assignment.partition("=")
            servers.set_fault(name, value)
        if as_json:
            typer.echo(json.dumps(servers.describe()))  # flushes
        else:
            _introduce(servers.describe(), faults)
        await stopped.wait()


def _introduce(described: dict[str, Any], faults: list[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n[bold]The sandbox is up.[/] Ctrl-C ends it.\n")
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for sandboxed, facts in _sandboxed(described):
        for label, text in sandboxed.rows(facts):
            table.add_row(label, text)
    for assignment in faults:
        table.add_row("[red]Fault[/]", assignment)
    console.print(table)
    console.print("\nTo point a bot at it:\n")
    for name, value in variables(described).items():
        console.print(f"  export {name}={value}", markup=False)
    console.print()


def variables(described: dict[str, Any]) -> dict[str, str]:
    """What a bot has to find in its environment, to be let in by the sandbox that is described, and to leave the real ones alone."""
    return {name: value for sandboxed, facts in _sandboxed(described) for name, value in sandboxed.variables(facts).items()}


def _sandboxed(described: dict[str, Any]) -> list[tuple[Sandboxed, Described]]:
    return [
        (platform.sandboxed, described[platform.name])
        for platform in PLATFORMS
        if platform.sandboxed is not None and platform.name in described
    ]


def _list_faults() -> None:
    table = Table(box=None, padding=(0, 2))
    table.add_column("Platform", style="dim")
    table.add_column("Fault", style="bold")
    table.add_column("What goes wrong")
    for platform, faults in known_faults().items():
        for name, text in faults.items():
            table.add_row(platform, name, text)
    Console(highlight=False).print(table)
