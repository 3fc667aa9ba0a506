"""Session: a broker's server as TradingView sees it. Reads are typed, prices come as streams, the token is somebody else's concern."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar, overload

from tradesession import policy
from tradesession.errors import Error, InvalidRequest
from tradesession.hooks import QuotaWaited, Unclassified
from tradesession.protocol.http import HttpRequest
from tradesession.protocol.turns import TokenBucket
from tradesession.secrets import Secret
from tradesession.session.services import Services
from tradesession.session.session import Session as BaseSession
from tradesession.session.streams import EventStream, Gap
from tradesession.session.supervisor import Line
from tradesession.timing import sleep
from tradesession.tradingview import routing
from tradesession.tradingview.config import Config
from tradesession.tradingview.credentials import ServerOAuth2Bearer
from tradesession.tradingview.handshake import Server
from tradesession.tradingview.judge import envelope_error
from tradesession.tradingview.line import AccessLine, Step, StreamingLine
from tradesession.tradingview.liveness import Silence
from tradesession.tradingview.market import Directory, Feed
from tradesession.tradingview.records import Bar, DailyBar, Group, Quote, SymbolInfo, Trade, Update, UserQuote
from tradesession.tradingview.refresh import BearerExchange
from tradesession.verdict import Action, Level, Verdict

U = TypeVar("U", Quote, Trade, DailyBar)
Moment = dt.datetime | float
Rule = Literal["drop_oldest", "latest", "must_deliver", "pause"]

_DAY: Final = 86400

_Place = tuple[StreamingLine, type[Update], str | None]
"""Where a stream of events listens: a connection, a kind of update, a symbol or all of them."""


class Session(BaseSession):
    """A session with a broker's server for TradingView's data integration.

    Open it with `tradesession.connect(config)` or `SessionManager.open(config)`: it is READY then, which means that the server takes the
    token, has told its symbols, and every stream is open. Streams come back after losses and are told of the gap; reads are repeated
    within their deadline, and do not wait for streams.
    """

    def __init__(self, config: Config, services: Services) -> None:
        name = f"tradingview {config.place}"
        super().__init__(name, clock=services.clock, hooks=services.hooks, tokens=services.tokens, close_timeout=config.close_timeout)
        self.config = config
        self.symbols = Directory()
        """The symbols of the latest /symbol_info without a group."""
        if isinstance(services.exchange, BearerExchange):
            services.exchange.hooks = services.hooks
        self._server = Server(
            config,
            services.tokens,
            clock=services.clock,
            hooks=services.hooks,
            name=name,
            chance=self._chance,
            on_dead_token=self._token_is_dead,
        )
        self._access = AccessLine(name, self._server, services.clock, services.hooks, partial(self._symbols_of, once=True))
        self._turn = asyncio.Lock()
        self._streaming = [self._stream_line(f"{name} streaming {number}") for number in range(config.streams)]
        self._sinks: dict[_Place, tuple[Callable[[Any], None], ...]] = {}
        self._quotes_quota = TokenBucket(config.quotes_per_second, 1)
        self._unknown: set[str] = set()

    def _stream_line(self, name: str) -> StreamingLine:
        return StreamingLine(
            name,
            self._server,
            lambda: Feed(self.symbols, self._report_unknown, _refused_stream),
            Silence(self.config.silence, self.symbols.is_open),
            clock=self._clock,
            hooks=self._hooks,
            chance=self._chance,
            access=self._access.is_open,
            turn=self._turn,
            renews=self.config.renew_streams and self.config.auth is not None,
            on_update=self._received,
        )

    @property
    def steps(self) -> list[Step]:
        """The steps on the way to READY, those of each connection in the order in which they ended."""
        return [*self._access.steps, *(step for line in self._streaming for step in line.steps)]

    # --- reads --------------------------------------------------------------------------------------------------------------------

    async def symbol_info(self, group: str = "") -> list[SymbolInfo]:
        """The symbols that the server has, or those of a group. TradingView asks once an hour. Raises as `get` does."""
        return await self._symbols_of(group)

    async def _symbols_of(self, group: str = "", *, once: bool = False) -> list[SymbolInfo]:
        rows = routing.symbols(await self._read("/symbol_info", (("group", group),), once=once))
        if not group:
            self.symbols.replace(rows)
        return rows

    async def groups(self) -> list[Group]:
        """The groups that the symbols are in. Raises as `get` does."""
        return routing.groups(await self._read("/groups"))

    async def permissions(self, *, bearer: Secret | str | None = None) -> list[Group]:
        """The groups that a user may see. `bearer` is the user's own token; needed beside a certificate, which is no user's.

        Raises as `get` does; InvalidRequest without a needed bearer.
        """
        return routing.groups(await self._read("/permissions", bearer=self._of_user("/permissions", bearer)))

    async def history(self, symbol: str, resolution: str = "1", *, since: Moment, until: Moment | None = None) -> list[Bar]:
        """The bars of a symbol from `since` to `until` (now), both inclusive: datetimes with a zone, or seconds since 1970.

        `resolution` is in minutes ("1", "5"), or "1D", "1W", "1M". Minutes are asked for as TradingView does it, one UTC day in a request,
        the latest first, until the server says that there is nothing earlier. Raises as `get` does; InvalidRequest.
        """
        first, last = _seconds(since), _seconds(self._clock.wall() if until is None else until)
        if first > last:
            raise InvalidRequest("since lies behind until: history has nothing to give")
        bars: dict[dt.datetime, Bar] = {}
        end = last
        while end >= first:
            begin = max(first, end - end % _DAY) if resolution.isdecimal() else first
            asked = (("symbol", self.symbols.ticker(symbol)), ("resolution", resolution), ("from", str(begin)), ("to", str(end)))
            answer = routing.history(await self._read("/history", asked))
            bars |= {bar.time: bar for bar in answer.bars if first <= bar.time.timestamp() <= last}
            if answer.is_end:
                break
            end = min(begin - 1, int(answer.next_time)) if answer.next_time is not None else begin - 1
        return [bars[time] for time in sorted(bars)]

    async def quotes(
        self, account_id: str, *symbols: str, locale: str = "en", bearer: Secret | str | None = None, timeout: float | None = None
    ) -> list[UserQuote]:
        """What one user sees of these symbols now (GET /quotes, of the trading side). `bearer` as for `permissions`.

        Waits its turn: together no more than `quotes_per_second` of the configuration are sent. Raises as `get` does; InvalidRequest.
        """
        if not symbols:
            raise InvalidRequest("name at least one symbol, such as 'EURUSD'")
        token = self._of_user("/quotes", bearer)
        await self._quota("/quotes")
        query = (("locale", locale), ("accountId", account_id), ("symbols", ",".join(map(self.symbols.ticker, symbols))))
        return routing.quotes(await self._read("/quotes", query, bearer=token, timeout=timeout))

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, bearer: Secret | str | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """A read that has no method of its own: the fields of its answer, as JSON gives them, numbers with a fraction as decimals.

        `path` is appended to the base URL; `timeout` (seconds; the configuration's `request_timeout` by default) covers repetitions as
        well. Raises Rejected for a refusal (an error envelope, or an HTTP status), ProtocolError for what is no answer, DeadlineExceeded,
        LinkLost or NotSent when none came, TokenError when there is no token, SessionClosed.
        """
        _check_path(path)
        return await self._read(path, tuple((query or {}).items()), bearer=_secret(bearer), timeout=timeout)

    async def post(
        self, path: str, form: Mapping[str, str | Secret] | None = None, *, bearer: Secret | str | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """A call that has effects, such as an order or /logout: sent at most once, and never again by itself, not even after a 401.

        Raises as `get` does, and OutcomeUnknown when it left and no answer came, or none that says what became of it.
        """
        _check_path(path)
        self._refuse_when_closed(path)
        return await self._server.call(path, tuple((form or {}).items()), bearer=_secret(bearer), timeout=timeout)

    # --- streams ------------------------------------------------------------------------------------------------------------------

    @overload
    def spots(
        self, *symbols: str, stream: int = 0, gaps: Literal[False] = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Quote]: ...
    @overload
    def spots(
        self, *symbols: str, stream: int = 0, gaps: Literal[True], overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Quote | Gap]: ...
    def spots(
        self, *symbols: str, stream: int = 0, gaps: bool = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Quote] | EventStream[Quote | Gap]:
        """The best prices of these symbols (or of all) as they come from now on: both sides always. There are no snapshots.

        `stream` is the number of the connection, from 0. At most `limit` quotes wait for a slow reader; with `overflow="latest"` only the
        newest one of each symbol does. With `gaps=True` a Gap stands where something was missed. Raises InvalidRequest for a stream that
        the configuration does not have.
        """
        return self._updates(Quote, symbols, stream, gaps=gaps, overflow=overflow, limit=limit)

    @overload
    def trades(
        self, *symbols: str, stream: int = 0, gaps: Literal[False] = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Trade]: ...
    @overload
    def trades(
        self, *symbols: str, stream: int = 0, gaps: Literal[True], overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Trade | Gap]: ...
    def trades(
        self, *symbols: str, stream: int = 0, gaps: bool = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Trade] | EventStream[Trade | Gap]:
        """The trades of these symbols (or of all) as they come from now on; options as for `spots`."""
        return self._updates(Trade, symbols, stream, gaps=gaps, overflow=overflow, limit=limit)

    @overload
    def daily(
        self, *symbols: str, stream: int = 0, gaps: Literal[False] = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[DailyBar]: ...
    @overload
    def daily(
        self, *symbols: str, stream: int = 0, gaps: Literal[True], overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[DailyBar | Gap]: ...
    def daily(
        self, *symbols: str, stream: int = 0, gaps: bool = False, overflow: Rule = "drop_oldest", limit: int = policy.EVENT_QUEUE
    ) -> EventStream[DailyBar] | EventStream[DailyBar | Gap]:
        """The daily bars of these symbols (or of all) as they change from now on; options as for `spots`."""
        return self._updates(DailyBar, symbols, stream, gaps=gaps, overflow=overflow, limit=limit)

    def silence(self, symbol: str, *, stream: int = 0) -> float | None:
        """Seconds since a symbol was heard on a stream (or could be, if that was later); None when it never was."""
        return self._stream_number(stream).silence.silence(self.symbols.symbol(symbol), self._clock.monotonic())

    # --- what the base class wants --------------------------------------------------------------------------------------------------

    def _lines(self) -> Sequence[Line]:
        return [self._access, *self._streaming]

    def _finished(self) -> None:
        self._callbacks.spawn(self._server.aclose(), name=f"{self.name} closes its connections")

    # --- inside ---------------------------------------------------------------------------------------------------------------------

    async def _read(
        self,
        path: str,
        query: tuple[tuple[str, str], ...] = (),
        *,
        bearer: Secret | None = None,
        timeout: float | None = None,
        once: bool = False,
    ) -> dict[str, Any]:
        is_ready = partial(self._refuse_when_closed, path)
        return await self._server.read(path, query, bearer=bearer, timeout=timeout, once=once, is_ready=is_ready)

    async def _quota(self, path: str) -> None:
        now = self._clock.monotonic()
        at = self._quotes_quota.next_at(now)
        self._quotes_quota.take(now)  # reserved: whoever asks next stands behind it
        if at > now:
            await sleep(self._clock, at - now)
            self._hooks.emit(QuotaWaited(source=self.name, request=path, seconds=at - now))

    def _of_user(self, path: str, bearer: Secret | str | None) -> Secret | None:
        if bearer is None and isinstance(self.config.auth, ServerOAuth2Bearer):
            raise InvalidRequest(f"{path} is a user's, and the session's token is the server's: give the user's as bearer=")
        return _secret(bearer)

    def _stream_number(self, stream: int) -> StreamingLine:
        if not 0 <= stream < len(self._streaming):
            raise InvalidRequest(f"stream={stream} is none: the configuration has streams={len(self._streaming)}, counted from 0")
        return self._streaming[stream]

    def _updates(self, kind: type[U], symbols: tuple[str, ...], stream: int, *, gaps: bool, overflow: Rule, limit: int) -> EventStream[U]:
        line = self._stream_number(stream)
        names: set[str | None] = {self.symbols.symbol(symbol) for symbol in symbols} or {None}
        name = f"{kind.__name__} of {', '.join(symbols) or 'all symbols'}"
        places: list[_Place] = [(line, kind, symbol) for symbol in names]
        events: EventStream[U] = EventStream(
            name,
            limit=limit,
            overflow=overflow,
            key=_symbol_of if overflow == "latest" else None,
            gaps=gaps,
            on_close=lambda: self._leave(places, events.put_nowait),
            on_drop=self._report_drop(name),
        )
        self._listen(places, events.put_nowait)
        self._join(events, line)
        return events

    def _listen(self, places: list[_Place], sink: Callable[[Any], None]) -> None:
        for place in places:
            self._sinks[place] = (*self._sinks.get(place, ()), sink)

    def _leave(self, places: list[_Place], sink: Callable[[Any], None]) -> None:
        for place in places:
            self._sinks[place] = tuple(other for other in self._sinks[place] if other != sink)

    def _token_is_dead(self, cause: Error) -> None:
        self._access.fail(cause)

    def _received(self, line: StreamingLine, update: Update) -> None:
        sinks, kind = self._sinks, type(update)
        for sink in sinks.get((line, kind, update.symbol), ()):
            sink(update)
        for sink in sinks.get((line, kind, None), ()):
            sink(update)

    def _report_unknown(self, what: str) -> None:
        if what not in self._unknown and len(self._unknown) < policy.EVENT_QUEUE:
            self._unknown.add(what)
            self._hooks.emit(Unclassified(source=self.name, what=what))


def _refused_stream(fields: dict[str, Any]) -> Error:
    """The error of an envelope in a stream. The connection is over, and another one may be better."""
    error = envelope_error(fields, HttpRequest(method="GET", url="/streaming"), "/streaming")
    error.verdict = Verdict(Action.RETRY, Level.LINK)
    return error


def _symbol_of(update: Update) -> str:
    return update.symbol


def _secret(bearer: Secret | str | None) -> Secret | None:
    return None if bearer is None else Secret(bearer)


def _check_path(path: str) -> None:
    if not path.startswith("/") or "?" in path or "#" in path:
        raise InvalidRequest(f"the path {path[:40]!r} must begin with a slash and hold no query; that has a parameter of its own")


def _seconds(moment: Moment) -> int:
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            raise InvalidRequest("a datetime without a zone can be any of twenty-four moments; give it one, such as datetime.UTC")
        return int(moment.timestamp())
    return int(moment)
