"""Rules about /history. Pure.

Of several symbols the same is asked, and what was asked stands in `History.asked` by these names: `day` (a whole past day with bars in it),
`again` (the same), `one` (from = to = a bar's time), `long` with `slices` (200 minutes, at once and by 20), `fifty` (a window of 50
minutes), `future` (to is ahead), `ahead` (from and to are), `left` (the first day of 1970), `countback`, `recent` and `later` (before and
after the streams), `daily`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from tradesession.preflight.evidence import Asked, Bars, Evidence, History
from tradesession.preflight.exchange import brief, is_integer, is_number
from tradesession.preflight.report import Problem, Rules
from tradesession.preflight.rules.common import DATA_TESTS, SPECIFICATION, answered, enveloped, need, typed

RULES: Final = Rules()
rule = RULES.rule

MANUAL: Final = "Broker Integration Manual, data: history"
COUNT: Final = 10
"""Bars that are asked for with countback."""
SETTLED: Final = 5.0
"""Seconds after its end in which a bar may still get its last trades."""
AHEAD: Final = 5.0
"""Seconds that the server's clock may be ahead of this machine's, as for the messages of a stream."""


def _all(evidence: Evidence) -> Iterator[Asked]:
    need(evidence.histories, "no symbol to ask about is known")
    for history in evidence.histories:
        yield from history


def _usable(evidence: Evidence) -> Iterator[tuple[Asked, Bars]]:
    good = [(asked, bars) for asked in _all(evidence) if (bars := asked.bars) is not None]
    need(good, "/history has no usable answer")
    yield from good


def _named(evidence: Evidence, name: str) -> Iterator[tuple[History, Asked, Bars]]:
    """What was asked under that name, where the answer can be used."""
    need(evidence.histories, "no symbol to ask about is known")
    named = [(history, history.asked[name]) for history in evidence.histories if name in history.asked]
    found = [(history, asked, bars) for history, asked in named if (bars := asked.bars) is not None]
    need(found, "no symbol has bars to look at")
    yield from found


@rule("history.answer", "/history answers with HTTP 200", MANUAL)
def _answer(evidence: Evidence) -> Iterator[Problem]:
    yield from answered(asked.exchange for asked in _all(evidence))


@rule("history.content-type", "its Content-Type has application/json", MANUAL)
def _content_type(evidence: Evidence) -> Iterator[Problem]:
    yield from typed(asked.exchange for asked in _all(evidence))


@rule("history.envelope", "it is a JSON object with s=ok or s=no_data", SPECIFICATION + ", /history")
def _envelope(evidence: Evidence) -> Iterator[Problem]:
    yield from enveloped((asked.exchange for asked in _all(evidence)), ("ok", "no_data"))


@rule("history.fields", "t, o, h, l, c are arrays of numbers of one length, t of whole ones; so is v", SPECIFICATION + ", /history")
def _fields(evidence: Evidence) -> Iterator[Problem]:
    for asked in _all(evidence):
        if asked.exchange.is_ok:
            yield from _columns(asked)


def _columns(asked: Asked) -> Iterator[Problem]:
    reply, what = asked.exchange.reply or {}, asked.exchange.what
    lengths: dict[str, int] = {}
    for name in "tohlcv":
        column = reply.get(name)
        if column is None and name == "v":
            continue
        if not isinstance(column, list):
            yield Problem("an array", brief(column), f"{name} of {what}")
            continue
        lengths[name] = len(column)
        holds, expected = (is_integer, "whole numbers") if name == "t" else (is_number, "numbers")
        wrong = next((value for value in column if not holds(value)), None)
        if not all(map(holds, column)):
            yield Problem(expected, brief(wrong), f"{name} of {what}")
    if len(set(lengths.values())) > 1:
        yield Problem("one length", ", ".join(f"{name}: {length}" for name, length in lengths.items()), what)


@rule("history.available", "there is a day with bars among the last seven, of each symbol that was asked about", MANUAL)
def _available(evidence: Evidence) -> Iterator[Problem]:
    for history, asked, bars in _named(evidence, "day"):
        if not bars.t:
            yield Problem("bars", "none in seven days", f"{history.symbol.name}, up to {asked.last}")


@rule("history.time-increasing", "times grow from bar to bar", DATA_TESTS + "historyTimeCorrectness")
def _increasing(evidence: Evidence) -> Iterator[Problem]:
    for asked, bars in _usable(evidence):
        for before, after in pairwise(bars.t):
            if after <= before:
                yield Problem("a later bar", f"{after} after {before}", asked.exchange.what)
                break


@rule(
    "history.aligned",
    "bars begin at whole minutes, daily ones at 00:00 UTC of the trading day",
    DATA_TESTS + "historyDailyHistoryAvailability",
)
def _aligned(evidence: Evidence) -> Iterator[Problem]:
    for asked, bars in _usable(evidence):
        step, name = (60, "minute") if asked.resolution == "1" else (86_400, "day in UTC")
        wrong = [time for time in bars.t if time % step]
        if wrong:
            yield Problem(f"the beginning of a {name}", f"{wrong[0]}", asked.exchange.what)


@rule("history.within", "no bar begins before from or after to; both are included", SPECIFICATION + ", /history")
def _within(evidence: Evidence) -> Iterator[Problem]:
    for asked, bars in _usable(evidence):
        if asked.countback:
            continue
        step = 60 if asked.resolution == "1" else 86_400
        wrong = [time for time in bars.t if not asked.first // step * step <= time <= asked.last]
        if wrong:
            yield Problem(f"{asked.first} to {asked.last}", f"{len(wrong)} bars elsewhere, one at {wrong[0]}", asked.exchange.what)


@rule(
    "history.prices",
    "low is the lowest and high the highest of the four prices, and all are there",
    "Broker Integration Manual, data: bar building",
)
def _prices(evidence: Evidence) -> Iterator[Problem]:
    for asked, bars in _usable(evidence):
        for time, (first, high, low, last) in bars.by_time.items():
            if not low <= min(first, last) <= max(first, last) <= high:
                yield Problem("l <= o, c <= h", f"o={first}, h={high}, l={low}, c={last} at {time}", asked.exchange.what)
                break


@rule("history.from-equals-to", "asked from and to the time of a bar, exactly this bar comes", DATA_TESTS + "historyFromEqTo")
def _one(evidence: Evidence) -> Iterator[Problem]:
    for _, asked, bars in _named(evidence, "one"):
        if bars.t != [asked.first]:
            yield Problem(f"the bar of {asked.first}", _times(bars), asked.exchange.what)


@rule("history.repeatable", "the same question about the past has the same answer", DATA_TESTS + "historyRepeatability")
def _repeatable(evidence: Evidence) -> Iterator[Problem]:
    for history, asked, bars in _named(evidence, "again"):
        before = history.asked["day"].bars
        if before is not None and before.by_time != bars.by_time:
            yield Problem("the same bars", _difference(before, bars), asked.exchange.what)


@rule("history.slices", "200 minutes asked at once and by 20 have the same bars", DATA_TESTS + "historySeveralShortQueriesEqualsLargeQuery")
def _slices(evidence: Evidence) -> Iterator[Problem]:
    for history, asked, bars in _named(evidence, "long"):
        pieces = [one.bars for one in history.slices]
        joined = {time: bar for piece in pieces if piece is not None for time, bar in piece.by_time.items()}
        if None not in pieces and joined != bars.by_time:
            yield Problem("the same bars", _compared(bars.by_time, joined, "at once", "by 20 minutes"), asked.exchange.what)


@rule(
    "history.window",
    "a window of 50 minutes has 50 bars at most, and the first and the last where they belong",
    DATA_TESTS + "historyOutsideBarsInclusion",
)
def _window(evidence: Evidence) -> Iterator[Problem]:
    for _, asked, bars in _named(evidence, "fifty"):
        first, last = asked.first + -asked.first % 60, asked.last // 60 * 60
        if len(bars.t) > 50:
            yield Problem("50 bars", f"{len(bars.t)}", asked.exchange.what)
        elif len(bars.t) == 50 and (min(bars.t), max(bars.t)) != (first, last):
            yield Problem(f"{first} to {last}", f"{min(bars.t)} to {max(bars.t)}", asked.exchange.what)
        elif len(bars.t) < 50:
            yield Problem("50 bars", f"{len(bars.t)}: a gap, or a bar is left out", asked.exchange.what, is_warning=True)


@rule(
    "history.future", "with to in the future the answer ends with the bar of now", f"{DATA_TESTS}historyFutureMinutes, historyFutureDaily"
)
def _future(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.histories, "no symbol to ask about is known")
    for history in evidence.histories:
        for name in ("future", "daily"):
            asked = history.asked.get(name)
            if asked is None or asked.bars is None:
                continue
            latest = asked.exchange.done_at + AHEAD
            if name == "daily" and not history.symbol.trades_by_utc:
                latest += 86_400  # a session that begins in the evening is of the day after
            ahead = [time for time in asked.bars.t if time > latest]
            if ahead:
                found = f"one at {ahead[0]}, {ahead[0] - asked.exchange.done_at:.0f} s ahead"
                yield Problem("no bar of the future", found, asked.exchange.what)


@rule("history.no-data", "no_data means that there is nothing earlier; where there is, the answer is s=ok with empty arrays", MANUAL)
def _no_data(evidence: Evidence) -> Iterator[Problem]:
    for history, asked, _ in _named(evidence, "ahead"):
        reply = asked.exchange.reply or {}
        day = history.asked["day"].bars
        if reply.get("s") != "no_data" or day is None or not day.t:
            continue
        following: Any = reply.get("nb")  # of earlier versions: where the next bar before is
        if not is_integer(following) or following >= asked.first:
            yield Problem("s=ok with empty arrays", f"no_data, though there is a bar at {day.t[-1]}", asked.exchange.what)


@rule("history.left-boundary", "before the first bar there is s=no_data, without nb", DATA_TESTS + "historyBeyondLeftBoundary")
def _left(evidence: Evidence) -> Iterator[Problem]:
    for _, asked, bars in _named(evidence, "left"):
        if bars.t:
            yield Problem("no_data", f"{len(bars.t)} bars", asked.exchange.what)
        elif asked.exchange.s != "no_data":
            yield Problem("no_data", asked.exchange.described(), asked.exchange.what)
        elif (asked.exchange.reply or {}).get("nb"):
            yield Problem("no nb", f"nb={brief((asked.exchange.reply or {})['nb'])}", asked.exchange.what)


@rule("history.countback", "countback, which is deprecated, gets no more bars than asked for", DATA_TESTS + "historyCountbackMinutes")
def _countback(evidence: Evidence) -> Iterator[Problem]:
    for _, asked, bars in _named(evidence, "countback"):
        if len(bars.t) > COUNT:
            yield Problem(f"at most {COUNT} bars", f"{len(bars.t)}", asked.exchange.what)


@rule("history.closed-bars-stay", "a bar that is closed is the same a while later", DATA_TESTS + "historyNoDataChanges")
def _stay(evidence: Evidence) -> Iterator[Problem]:
    for history, asked, bars in _named(evidence, "later"):
        before = history.asked["recent"].bars
        if before is None:
            continue
        closed = {time: bar for time, bar in before.by_time.items() if time + 60 + SETTLED <= history.asked["recent"].exchange.sent_at}
        now = {time: bar for time, bar in bars.by_time.items() if time in closed}
        if now != closed:
            yield Problem("the bars of before", _compared(closed, now, "before", "later"), asked.exchange.what)


@rule("history.daily", "a symbol with daily bars has some", DATA_TESTS + "historyDailyHistoryAvailability")
def _daily(evidence: Evidence) -> Iterator[Problem]:
    need(any("daily" in one.asked for one in evidence.histories), "no symbol has daily bars")
    for _, asked, bars in _named(evidence, "daily"):
        if not bars.t:
            yield Problem("daily bars", "none in ten days", asked.exchange.what)


@rule("history.daily-prices", "a day opens with its first minute and closes with its last", DATA_TESTS + "historyPriceMatch")
def _daily_prices(evidence: Evidence) -> Iterator[Problem]:
    need(any("daily" in one.asked for one in evidence.histories), "no symbol has daily bars")
    for history, asked, bars in _named(evidence, "daily"):
        minutes = history.asked["day"]
        if minutes.bars is None or not minutes.bars.t or not history.symbol.trades_by_utc:
            continue  # else it is not known which minutes are the day's
        day = bars.by_time.get(minutes.first)
        ordered = sorted(minutes.bars.by_time.items())
        if day is not None and (day[0], day[3]) != (ordered[0][1][0], ordered[-1][1][3]):
            found = f"o={day[0]}, c={day[3]}"
            yield Problem(f"o={ordered[0][1][0]}, c={ordered[-1][1][3]}", found, f"the day {minutes.first} in {asked.exchange.what}")


@rule("history.unknown-symbol", "a symbol that does not exist is refused by HTTP 200 with s=error", "Broker Integration Manual, FAQ")
def _unknown(evidence: Evidence) -> Iterator[Problem]:
    one = evidence.unknown_symbol
    need(one, "there is no token to ask with")
    if one is not None and (one.error or one.status != 200 or one.s not in ("error", "no_data")):
        yield Problem("HTTP 200 with s=error", one.described(), one.what)


def _times(bars: Bars) -> str:
    return "no bar" if not bars.t else f"{len(bars.t)} bars from {bars.t[0]} to {bars.t[-1]}"


def _difference(before: Bars, after: Bars) -> str:
    return _compared(before.by_time, after.by_time, "first", "then")


def _compared(
    one: dict[int, tuple[float, float, float, float]], two: dict[int, tuple[float, float, float, float]], left: str, right: str
) -> str:
    """The first difference between two sets of bars."""
    for time in sorted(one.keys() | two.keys()):
        if one.get(time) != two.get(time):
            return f"at {time} {left} {one.get(time) or 'nothing'}, {right} {two.get(time) or 'nothing'}"
    return "no difference"
