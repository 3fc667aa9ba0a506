"""Examining the sandboxed broker in a virtual world, where half a minute of streaming costs milliseconds and nothing is ever late."""

from __future__ import annotations

from typing import Any

from tradesession import preflight
from tradesession.preflight import Plan, Report, Status
from tradesession.sandbox import Sandbox
from tradesession.sandbox.simulation import World
from tradesession.sandbox.simulation.loop import START
from tradesession.tradingview import PasswordBearer, ServerOAuth2Bearer

NOON = START + 12 * 3600 + 12
"""Noon, and a little more: when examinations begin, so that none of them spans a minute."""
_KEY = ("token_url", "client_id", "client_secret", "user_id", "app_url", "key_file", "certificate_file")


def plan(sandbox: Sandbox, **changes: Any) -> Plan:
    """With both credentials, unless something else is said."""
    described = sandbox.tradingview.describe()
    key = ServerOAuth2Bearer.from_files(**{name: described[name] for name in _KEY})
    login = PasswordBearer(login=described["login"], password=described["password"])
    options: dict[str, Any] = {"duration": 12.0, "tokens": 4, "sampled_symbols": 1}  # quicker than by default
    options |= {"base_url": described["base_url"], "login": login, "key": key, "ca_file": described["ca_file"]}
    return Plan(**options | changes)


async def examine(world: World, *knobs: str, **changes: Any) -> Report:
    """Examine a broker of the virtual world, with these knobs turned, each as on the command line.

    Time there is the simulation's: a run takes its half a minute in any case, however slow this machine is.
    """
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        for knob in knobs:
            name, _, value = knob.partition("=")
            sandbox.set_fault(f"tradingview.{name}", value)
        return await preflight.run(plan(sandbox, **changes), world.clock)


def broken(report: Report) -> set[str]:
    """The rules that are not kept."""
    return {result.rule.id for result in report.with_status(Status.FAILED)}


def doubtful(report: Report) -> set[str]:
    """The rules with a warning."""
    return {result.rule.id for result in report.with_status(Status.WARNING)}
