"""What has been: bars and ticks. Facts: sections 8.3 to 8.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader import history, market
from tradesession.sandbox.ctrader.calendar import bar_start, next_start
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.requests.answer import Answer, answers, page_size

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection

LATEST: Final = 2_147_483_646_000
"""The last moment that may be asked for, in milliseconds."""

WEEK: Final = 604_800_000
"""The widest window of ticks, in milliseconds."""

_MINUTE: Final = 60_000


def _symbol(connection: Connection, account_id: int, symbol_id: int) -> Symbol:
    broker = connection.core.state.accounts[account_id].broker
    try:
        return market.symbol_by_id(broker, symbol_id)
    except Refusal as refusal:
        refusal.account_id = account_id
        raise


def window(connection: Connection, request: pb.ProtoOAGetTrendbarsReq | pb.ProtoOAGetTickDataReq, *, open_start: bool) -> tuple[int, int]:
    """From when to when is asked, in milliseconds, but not beyond now. Without a start it must be open."""
    account_id, now = request.ctidTraderAccountId, round(connection.core.clock.wall() * 1000)
    until = request.toTimestamp if request.HasField("toTimestamp") else now
    if not request.HasField("fromTimestamp") and not open_start:
        raise Refusal("INVALID_REQUEST", "fromTimestamp is missing", account_id=account_id)
    since = 0 if open_start else request.fromTimestamp
    if not 0 <= since <= until <= LATEST:
        raise Refusal("INCORRECT_BOUNDARIES", f"The window from {since} to {until} is none", account_id=account_id)
    return since, min(until, now)


@answers(pb.ProtoOAGetTrendbarsReq)
def past_bars(connection: Connection, request: pb.ProtoOAGetTrendbarsReq) -> Answer:
    """The newest bars of the window, oldest first; with a count, so many back from the window's end, wherever it begins."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbol = _symbol(connection, account_id, request.symbolId)
    since, until = window(connection, request, open_start=request.HasField("count"))
    size, is_silent = page_size(connection, core.settings.bars_per_page)
    if request.HasField("count"):
        size = min(size, max(request.count - core.settings.bars_short_of_count, 0))
    newest = until // _MINUTE
    closed = (round(core.clock.wall() * 1000) - round(core.settings.bar_delay * 1000)) // _MINUTE
    while newest > 0 and next_start(request.period, bar := bar_start(request.period, newest)) > closed:
        newest = bar - 1  # it is still forming
    found, has_more = history.bars(core.seed, symbol, request.period, -(-since // _MINUTE), newest, size)
    if core.faults.zero_delta_high:
        for one in found:
            if one.deltaClose == 0:
                one.deltaHigh = 0
    return Answer(
        pb.ProtoOAGetTrendbarsRes(
            ctidTraderAccountId=account_id,
            period=request.period,
            trendbar=found,
            symbolId=symbol.id,
            hasMore=has_more and not is_silent,
        )
    )


@answers(pb.ProtoOAGetTickDataReq)
def past_ticks(connection: Connection, request: pb.ProtoOAGetTickDataReq) -> Answer:
    """The newest ticks of the window: the first as it is, each other one as its difference to the one before it."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbol = _symbol(connection, account_id, request.symbolId)
    since, until = window(connection, request, open_start=False)
    if until - since > WEEK:
        raise Refusal("INCORRECT_BOUNDARIES", "The window is longer than a week", account_id=account_id)
    size, is_silent = page_size(connection, core.settings.ticks_per_page)
    found, has_more = history.ticks(core.seed, symbol, request.type, since, until, size)
    before = (0, 0)
    coded = []
    for time, price in found:
        coded.append(pb.ProtoOATickData(timestamp=time - before[0], tick=price - before[1]))
        before = (time, price)
    return Answer(pb.ProtoOAGetTickDataRes(ctidTraderAccountId=account_id, tickData=coded, hasMore=has_more and not is_silent))
