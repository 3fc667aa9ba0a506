"""Asking a server everything that the rules want to know, in a sensible order: tokens, groups and symbols, then history beside the streams.

Reads only, but for the tokens that it asks for. Judges nothing. Always holds: what has been gathered stands in `evidence` at any moment,
so that a run whose time is over has what there was time for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from tradesession.clock import Clock
from tradesession.preflight.assertions import Assertions
from tradesession.preflight.client import Client, Form
from tradesession.preflight.evidence import ENDPOINTS, Asked, Evidence, History, Symbol, has_groups
from tradesession.preflight.exchange import Exchange
from tradesession.preflight.plan import STREAMS, Plan
from tradesession.preflight.rules.groups import ids
from tradesession.preflight.rules.history import COUNT, SETTLED
from tradesession.preflight.rules.streaming import silent
from tradesession.preflight.rules.symbols import is_power
from tradesession.preflight.rules.tokens import access_token, fields, is_refusal, lifetime
from tradesession.secrets import Secret
from tradesession.timing import sleep
from tradesession.tradingview.credentials import PasswordBearer
from tradesession.tradingview.hours import Hours

_DAY: Final = 86_400
_DAYS_BACK: Final = 7
_LONG: Final = 200 * 60
_SLICE: Final = 20 * 60
"""Seconds that are asked about at once, and by pieces."""
_FRESH: Final = 0.5
"""Share of its life after which a token is replaced before the next request."""
_MOST_GROUPS: Final = 20
"""Groups whose symbols are read: twice as many as are allowed."""
_MOST_UNHEARD: Final = 20
"""Symbols that a stream did not speak of whose history is asked for."""
_LATE: Final = 600
"""Seconds before the opening of a stream whose trades it may still bring, late as they are."""
_UNKNOWN: Final = "NO_SUCH_SYMBOL"


class Gathering:
    """One run against one server."""

    def __init__(self, plan: Plan, client: Client, clock: Clock) -> None:
        self.evidence = Evidence(is_public=plan.is_public)
        self._plan = plan
        self._client = client
        self._clock = clock
        self._assertions = Assertions(plan.key) if plan.key is not None else None
        self._by_hand = Secret(plan.token.token) if plan.token is not None else None
        self._token: Secret | None = None
        self._stale_at = 0.0

    async def run(self) -> None:
        """Everything."""
        if self._plan.login is not None:
            await self._examine_logins(self._plan.login)
        if self._assertions is not None:
            await self._examine_assertions(self._assertions)
        evidence = self.evidence
        evidence.has_token = await self._fresh_token() is not None
        if not evidence.has_token and not evidence.is_public:
            evidence.is_shut_out = all(map(is_refusal, (*evidence.logins, *evidence.assertions)))
            return
        await self._read_symbols()
        evidence.is_shut_out = self._token is self._by_hand and all(one.status == 401 for one in evidence.symbol_infos.values())
        if evidence.is_shut_out:
            return
        if evidence.has_token:
            await self._try_without_token()
        async with asyncio.TaskGroup() as group:
            if evidence.symbols:
                group.create_task(self._listen())
            group.create_task(self._read_history())
        await self._look_again()
        await self._try_expired_token()

    # --- tokens ---

    async def _examine_logins(self, login: PasswordBearer) -> None:
        evidence = self.evidence
        for _ in range(self._plan.tokens):
            evidence.logins.append(await self._log_in(login))
            if self._is_login_refused:
                return  # sent again it may lock somebody's account
        good = [token for one in evidence.logins if (token := access_token(one)) is not None]
        if len(good) > 1:
            evidence.first_token_later = await self._try_token(good[0])
        if self._plan.wrong_password:
            evidence.wrong_login = await self._log_in(replace(login, password=f"wrong-{secrets.token_hex(8)}"))

    @property
    def _is_login_refused(self) -> bool:
        return any(map(is_refusal, self.evidence.logins[:1]))

    async def _log_in(self, login: PasswordBearer) -> Exchange:
        form: Form = {"login": login.login, "password": Secret(login.password), "locale": login.locale}
        return await self._client.post(login.url or f"{self._plan.base_url}/authorize", "POST /authorize", form)

    async def _examine_assertions(self, assertions: Assertions) -> None:
        evidence = self.evidence
        presented = [assertions.good(self._clock.wall()) for _ in range(self._plan.tokens)]
        evidence.assertions = [await self._present(assertions, one) for one in presented]
        good = [(one, text) for one, text in zip(evidence.assertions, presented, strict=True) if access_token(one) is not None]
        if not good:
            return
        if len(good) > 1:
            evidence.first_assertion_later = await self._try_token(access_token(good[0][0]) or "")
        evidence.replay = await self._present(assertions, good[-1][1], ", a second time")
        for wrong, assertion in assertions.bad(self._clock.wall()):
            evidence.bad_assertions[wrong] = await self._present(assertions, assertion)
        await self._examine_refresh(assertions)

    async def _examine_refresh(self, assertions: Assertions) -> None:
        evidence = self.evidence
        opened = await self._present(assertions, assertions.good(self._clock.wall()))
        refresh_token = (fields(opened) or {}).get("refresh_token")
        old = access_token(opened)
        if not isinstance(refresh_token, str) or not refresh_token or old is None:
            return
        evidence.refreshed = await self._refresh(assertions, refresh_token)
        new = access_token(evidence.refreshed)
        if new is not None:
            evidence.old_token_after_refresh = await self._try_token(old)
            evidence.new_token_after_refresh = await self._try_token(new)
            if (fields(evidence.refreshed) or {}).get("refresh_token") not in (None, refresh_token):
                evidence.refreshed_again = await self._refresh(assertions, refresh_token)

    async def _present(self, assertions: Assertions, assertion: Secret, how: str = "") -> Exchange:
        return await self._client.post(self._token_url, f"POST of an assertion{how}", assertions.form(assertion))

    async def _refresh(self, assertions: Assertions, refresh_token: str) -> Exchange:
        form: Form = {"grant_type": "refresh_token", "refresh_token": Secret(refresh_token), **assertions.client()}
        return await self._client.post(self._token_url, "POST of a refresh token", form)

    async def _try_token(self, token: str) -> Exchange:
        """A request that wants a token, with this one. A server without groups need not look at it before it says so."""
        exchange = await self._client.get("/groups", Secret(token))
        return exchange if has_groups(exchange) else await self._client.get("/history", Secret(token), limit=None, **self._of_nothing())

    def _of_nothing(self) -> dict[str, str | int]:
        """The question for the latest bars of a symbol that there is not."""
        now = int(self._clock.wall())
        return {"symbol": _UNKNOWN, "resolution": "1", "from": now - 600, "to": now}

    @property
    def _token_url(self) -> str:
        assert self._plan.key is not None
        return self._plan.key.token_url

    async def _fresh_token(self) -> Secret | None:
        """A token for data: by the key where that works, else by login, else that of the plan; None when none is to be had."""
        if self._token is not None and self._clock.wall() < self._stale_at:
            return self._token
        exchange = None
        if self._assertions is not None:
            exchange = await self._present(self._assertions, self._assertions.good(self._clock.wall()))
        if (exchange is None or access_token(exchange) is None) and self._plan.login is not None and not self._is_login_refused:
            exchange = await self._log_in(self._plan.login)
        token, life = (None, None) if exchange is None else (access_token(exchange), lifetime(exchange))
        self._token = self._by_hand if token is None else Secret(token)
        self._stale_at = self._clock.wall() + (self._plan.budget if life is None or life <= 0 else _FRESH * life)
        return self._token

    async def _get(self, path: str, **query: str | int) -> Exchange:
        limit = self._plan.symbols_limit if path == "/symbol_info" else None
        return await self._client.get(path, await self._fresh_token(), limit=limit, **query)

    async def _try_without_token(self) -> None:
        """What each endpoint says to those who have no token, and to those whose token is none."""
        history = self._of_nothing()
        if self.evidence.symbols:
            history["symbol"] = self.evidence.symbols[0].name
        for endpoint in ENDPOINTS:
            answers: dict[str, Exchange] = {}
            for name, token in (("no token", None), ("a token that is none", Secret(secrets.token_urlsafe(32)))):
                if endpoint == "streaming":
                    answers[name] = await self._client.head_of_stream(token)
                else:
                    limit = self._plan.symbols_limit if endpoint == "symbol_info" else None
                    query = history if endpoint == "history" else {}
                    answers[name] = await self._client.get(f"/{endpoint}", token, limit=limit, **query)
            self.evidence.unauthorized[endpoint] = answers

    async def _try_expired_token(self) -> None:
        """Spend a token whose life is over, if one is by now."""
        evidence = self.evidence
        given = [one for one in (*evidence.assertions[:1], *evidence.logins[:1]) if access_token(one) is not None]
        for one in given:
            life = lifetime(one)
            if life is not None and life > 0 and one.done_at + life + 2 < self._clock.wall():
                evidence.expired = await self._client.get("/symbol_info", Secret(access_token(one) or ""), limit=self._plan.symbols_limit)
                return
            evidence.expiry_reason = (
                "no token says when it ends" if life is None else f"a token lives for {life:.0f} s, longer than this took"
            )

    # --- groups and symbols ---

    async def _read_symbols(self) -> None:
        evidence = self.evidence
        evidence.groups = await self._get("/groups")
        known = [one for one in ids(evidence.groups) or [] if isinstance(one, str) and one]
        for group in known[:_MOST_GROUPS]:
            evidence.symbol_infos[group] = await self._get("/symbol_info", group=group)
        if not known:
            evidence.symbol_infos[""] = await self._get("/symbol_info")
            evidence.unknown_group = await self._get("/symbol_info", group=_UNKNOWN.lower())
        found: dict[str, Symbol] = {}
        for exchange in evidence.symbol_infos.values():
            if exchange.is_ok:
                found |= {symbol.name: symbol for symbol in read_symbols(exchange.reply or {})}
        evidence.symbols = list(found.values())

    # --- history ---

    async def _read_history(self) -> None:
        for symbol in sample(self.evidence.symbols, self._plan.sampled_symbols):
            await self._examine_history(symbol)
        self.evidence.unknown_symbol = await self._get("/history", **self._of_nothing())

    async def _examine_history(self, symbol: Symbol) -> None:
        now = int(self._clock.wall())
        over = int(now - SETTLED)  # what is compared with itself must have happened, or it changes between two questions
        asked: dict[str, Asked] = {"recent": await self._ask(symbol, now - 1800, now)}
        slices: list[Asked] = []
        self.evidence.histories.append(History(symbol, asked, slices))
        asked["left"] = await self._ask(symbol, 0, _DAY)
        asked["ahead"] = await self._ask(symbol, now + 3600, now + 7200)
        asked["future"] = await self._ask(symbol, now - 600, now + 3600)
        if symbol.has_daily:
            asked["daily"] = await self._ask(symbol, now // _DAY * _DAY - 10 * _DAY, now + _DAY, resolution="1D")
        asked["day"] = await self._day_with_bars(symbol, over)
        bars = asked["day"].bars
        if bars is None or not bars.t:
            return
        asked["again"] = await self._ask(symbol, asked["day"].first, asked["day"].last)
        first, last = min(bars.t), max(bars.t)
        middle = bars.t[len(bars.t) // 2]
        asked["one"] = await self._ask(symbol, middle, middle)
        end = min(middle + 1800, over) // 60 * 60
        asked["fifty"] = await self._ask(symbol, end - 50 * 60, end - 1)
        asked["countback"] = await self._ask(symbol, last, last, countback=COUNT)
        start = min(first, over - _LONG) // 60 * 60
        asked["long"] = await self._ask(symbol, start, start + _LONG - 1)
        slices += [await self._ask(symbol, begin, begin + _SLICE - 1) for begin in range(start, start + _LONG, _SLICE)]

    async def _day_with_bars(self, symbol: Symbol, over: int) -> Asked:
        """The latest whole day before `over` that has bars, or the earliest that was asked about."""
        day = over // _DAY * _DAY
        asked = await self._ask(symbol, day - _DAY, day - 1)
        for back in range(2, _DAYS_BACK + 1):
            if asked.bars is None or asked.bars.t:
                break
            asked = await self._ask(symbol, day - back * _DAY, day - (back - 1) * _DAY - 1)
        return asked

    async def _ask(self, symbol: Symbol, first: int, last: int, *, resolution: str = "1", countback: int = 0) -> Asked:
        query: dict[str, str | int] = {"symbol": symbol.name, "resolution": resolution, "from": first, "to": last}
        if countback:
            query["countback"] = countback
        return Asked(symbol.name, resolution, first, last, await self._get("/history", **query), countback)

    # --- streaming ---

    async def _listen(self) -> None:
        token = await self._fresh_token()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._client.stream(token, number, self._plan.duration)) for number in range(1, STREAMS + 1)]
        self.evidence.streams = [task.result() for task in tasks]

    async def _look_again(self) -> None:
        """After the streams: what history says of their time, and whether what it had said before still holds."""
        if not self.evidence.streams:
            return
        await sleep(self._clock, 1.0)  # the last trade has a moment to become history
        first = int(min(stream.opened_at for stream in self.evidence.streams)) // 60 * 60 - _LATE
        now = int(self._clock.wall())
        for history in self.evidence.histories:
            recent = history.asked["recent"]
            asked = await self._ask(history.symbol, recent.first, now)
            history.asked["later"] = asked
            self.evidence.streamed[history.symbol.name] = await self._ask(history.symbol, first, now)
        unheard = [symbol for symbol in silent(self.evidence) if symbol.has_intraday and symbol.name not in self.evidence.streamed]
        for symbol in unheard[:_MOST_UNHEARD]:  # whether they were quiet for everybody
            self.evidence.streamed[symbol.name] = await self._ask(symbol, first, now)


def sample(symbols: Iterable[Symbol], count: int) -> list[Symbol]:
    """Some symbols that have minute bars, of as many types as possible."""
    waiting = [symbol for symbol in symbols if symbol.has_intraday]
    chosen: list[Symbol] = []
    while waiting and len(chosen) < count:
        kinds = {symbol.kind for symbol in chosen}
        chosen.append(next((symbol for symbol in waiting if symbol.kind not in kinds), waiting[0]))
        waiting.remove(chosen[-1])
    return chosen


def read_symbols(reply: Mapping[str, Any]) -> list[Symbol]:
    """The rows of /symbol_info, as far as they can be read at all."""
    names = reply.get("symbol")
    if not isinstance(names, list):
        return []

    def cell(name: str, place: int, default: Any) -> Any:
        column = reply.get(name, default)
        if not isinstance(column, list):
            return column
        return column[place] if place < len(column) else default

    rows = []
    for place, symbol in enumerate(names):
        if not isinstance(symbol, str) or not symbol:
            continue
        ticker = cell("ticker", place, symbol)
        session, zone = cell("session-regular", place, cell("session", place, "")), cell("timezone", place, "")
        scale = cell("pricescale", place, 1)
        rows.append(
            Symbol(
                symbol=symbol,
                name=ticker if isinstance(ticker, str) and ticker else symbol,
                kind=str(cell("type", place, "")),
                has_intraday=cell("has-intraday", place, True) is not False,
                has_daily=cell("has-daily", place, False) is True,
                pricescale=scale if is_power(scale) else 1,
                hours=Hours.parse(session, zone) if isinstance(session, str) and isinstance(zone, str) else None,
                is_fractional=cell("fractional", place, False) is True,
            )
        )
    return rows
