"""What is asked, and when: questions whose answers are compared with each other are about what is over."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from tests.preflight.test_rules import found
from tradesession.clock import ManualClock
from tradesession.preflight import Plan, Status
from tradesession.preflight.client import Client
from tradesession.preflight.evidence import Symbol
from tradesession.preflight.exchange import Exchange
from tradesession.preflight.gathering import Gathering
from tradesession.secrets import Secret
from tradesession.tradingview import PasswordBearer
from tradesession.tradingview.hours import Hours

MONDAY = 1_767_571_200.0
"""2026-01-05T00:00:00Z."""


class Quiet:
    """A server that answers at once, in which trading began on Sunday at 22:00; its present bar never stays as it is."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._trades = 0

    async def get(self, path: str, token: Secret | None, *, limit: int | None = None, **query: Any) -> Exchange:
        self._clock.advance(0.2)
        now = self._clock.wall()
        self._trades += 1
        begin = max(query["from"] + -query["from"] % 60, int(MONDAY) - 7200)
        times = range(begin, min(query["to"], int(now)) + 1, 60)
        prices = [1.0 if time + 60 + 3 <= now else 1.0 + self._trades for time in times]  # three seconds behind
        body = json.dumps({"s": "ok" if query["to"] >= begin else "no_data", "t": list(times), **dict.fromkeys("ohlcv", prices)})
        return Exchange(f"GET {path}", 200, {}, body.encode(), "", now, now)


@pytest.mark.parametrize("after", [1.0, 600.0, 4000.0, 11_990.0, 12_100.0, 40_000.0])
async def test_what_is_still_going_on_is_compared_with_nothing(after: float) -> None:
    clock = ManualClock(wall=MONDAY + after)
    gathering = Gathering(Plan(base_url="http://127.0.0.1:1"), cast("Client", Quiet(clock)), clock)
    symbol = Symbol("EURUSD", "EURUSD", "forex", True, False, 1, Hours.parse("1700-1700", "America/New_York"))
    gathering.evidence.symbols = [symbol]
    await gathering._read_history()
    (history,) = gathering.evidence.histories
    if "long" in history.asked:  # in the first seconds of a week there is nothing to compare yet
        assert history.asked["long"].last < clock.wall()
        assert history.asked["fifty"].last < clock.wall()
        for rule in ("history.slices", "history.repeatable", "history.from-equals-to"):
            assert found(rule, gathering.evidence) is Status.PASSED, rule


class Groupless:
    """A server whose router knows no /groups, whatever the token; every login ends the token before."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._logins = 0

    async def post(self, url: str, what: str, form: Any) -> Exchange:
        if Secret(form["password"]).reveal() != "right":
            return self._says(200, {"s": "error", "errmsg": "wrong"})
        self._logins += 1
        return self._says(200, {"s": "ok", "d": {"access_token": f"token-{self._logins}"}})

    async def get(self, path: str, token: Secret | None, *, limit: int | None = None, **query: Any) -> Exchange:
        if path == "/groups":
            return self._says(404, {})
        is_good = token is not None and token.reveal() == f"token-{self._logins}"
        return self._says(200, {"s": "error", "errmsg": "no such symbol"}) if is_good else self._says(401, {})

    def _says(self, status: int, reply: object) -> Exchange:
        now = self._clock.wall()
        return Exchange("it", status, {"content-type": "application/json"}, json.dumps(reply).encode(), "", now, now)


async def test_a_token_is_tried_where_it_counts_on_a_server_without_groups() -> None:
    clock = ManualClock(wall=MONDAY)
    login = PasswordBearer(login="me", password="right")
    gathering = Gathering(Plan(base_url="http://127.0.0.1:1", login=login), cast("Client", Groupless(clock)), clock)
    await gathering._examine_logins(login)
    assert found("password.parallel", gathering.evidence) is Status.FAILED
