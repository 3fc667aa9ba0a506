"""Preflight: runs the checks that TradingView publishes for brokers against a broker's server, in minutes, and reports what it found.

    report = await preflight.run(Plan(base_url="https://broker.example/api", login=PasswordBearer(login="…", password="…")))

Reads data and asks for tokens; changes nothing. The rules stand in `rules`, each a function of what was gathered.
"""

from __future__ import annotations

from tradesession.clock import Clock
from tradesession.preflight.client import Client
from tradesession.preflight.gathering import Gathering
from tradesession.preflight.plan import Plan
from tradesession.preflight.report import Problem, Report, Result, Rule, Status, judge
from tradesession.preflight.rules import RULES
from tradesession.secrets import Secret
from tradesession.timing import SYSTEM_CLOCK, deadline

__all__ = ["RULES", "Plan", "Problem", "Report", "Result", "Rule", "Status", "run"]


async def run(plan: Plan, clock: Clock = SYSTEM_CLOCK) -> Report:
    """Examine a server. Raises Unreachable (CertificateRefused among them) when it cannot be reached at all.

    Everything else that a server does ends up in the report, at the latest when the plan's budget of time is over.
    """
    started, began = clock.wall(), clock.monotonic()
    async with Client(plan, clock) as client:
        if plan.login is not None:
            client.keep_secret(Secret(plan.login.password))
        if plan.key is not None:
            client.keep_secret(Secret(plan.key.client_secret))
        if plan.token is not None:
            client.keep_secret(Secret(plan.token.token))
        gathering = Gathering(plan, client, clock)
        try:
            async with deadline(clock, plan.budget):
                await gathering.run()
        except TimeoutError:
            gathering.evidence.out_of_time = plan.budget
        results = [judge(rule, gathering.evidence, client.redact) for rule in RULES]
        seconds = clock.monotonic() - began
        return Report(plan.base_url, started, seconds, client.requests, results, gathering.evidence.is_shut_out)
