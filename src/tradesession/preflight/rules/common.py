"""What several areas ask of an answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradesession.preflight.exchange import Exchange, brief
from tradesession.preflight.report import Problem, Skipped

DATA_TESTS = "Broker Integration Manual, data tests: "
SPECIFICATION = "REST API Specification for Brokers"


def answered(exchanges: Iterable[Exchange]) -> Iterator[Problem]:
    """HTTP 200 and the whole of it."""
    for one in exchanges:
        if one.error:
            yield Problem("an answer", one.error, one.what)
        elif one.status != 200:
            yield Problem("HTTP 200", f"HTTP {one.status}", one.what)


def typed(exchanges: Iterable[Exchange]) -> Iterator[Problem]:
    """The content type of what came with HTTP 200."""
    for one in exchanges:
        if one.status == 200 and not one.error and "application/json" not in one.content_type:
            yield Problem("Content-Type: application/json", brief(one.content_type) if one.content_type else "no Content-Type", one.what)


def enveloped(exchanges: Iterable[Exchange], good: tuple[str, ...] = ("ok",)) -> Iterator[Problem]:
    """The envelope of what came with HTTP 200."""
    for one in exchanges:
        if one.status == 200 and not one.error and one.s not in good:
            yield Problem(f"a JSON object with s={' or '.join(good)}", one.described(), one.what)


def need(condition: object, reason: str) -> None:
    """Skip the check unless there is something to look at."""
    if not condition:
        raise Skipped(reason)


def refused(exchanges: dict[str, Exchange]) -> Iterator[Problem]:
    """HTTP 401 for every token that is none."""
    for token, one in exchanges.items():
        if one.error or one.status != 401:
            yield Problem("HTTP 401", one.described(), f"{one.what} with {token}")
