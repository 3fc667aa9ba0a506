"""When bars begin and when markets are open, in minutes since 1970, UTC.

Pure. Bars of up to an hour begin on the round minutes of UTC; longer ones count from the end of the trading day at 17:00 in New York,
which is 21:00 or 22:00 UTC (fact sheet, section 8.3). Markets are closed from Friday's end to Sunday's.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final

from tradesession.ctrader import messages as pb

_P: Final = pb.ProtoOATrendbarPeriod
MINUTES: Final[dict[int, int]] = {
    _P.M1: 1, _P.M2: 2, _P.M3: 3, _P.M4: 4, _P.M5: 5, _P.M10: 10, _P.M15: 15, _P.M30: 30,
    _P.H1: 60, _P.H4: 240, _P.H12: 720, _P.D1: 1440, _P.W1: 7 * 1440, _P.MN1: 30 * 1440,
}  # fmt: skip
"""The length of each period; of a month about."""

_DAY: Final = 1440
_CLOSE: Final = 17 * 60
"""The end of the trading day, in minutes of New York's day."""
_SUNDAY: Final = 6


def bar_start(period: int, minute: int) -> int:
    """Where the bar begins that holds this minute."""
    length = MINUTES[period]
    if length <= 60:
        return minute - minute % length
    day = day_start(minute)
    if period == _P.MN1:
        date = _date(day + _DAY)  # the day that a trading day is named after begins the evening before
        return day_start(_minute(dt.date(date.year, date.month, 1)))
    if period == _P.W1:
        return day_start(day - (_date(day).weekday() + 1) % 7 * _DAY + 60)
    return day + (minute - day) // length * length


def next_start(period: int, start: int) -> int:
    """Where the bar after the one that begins at `start` begins."""
    if period == _P.MN1:
        return bar_start(period, start + 35 * _DAY)
    if period == _P.W1:
        return bar_start(period, start + 7 * _DAY + 120)  # clocks may have been changed by an hour
    if MINUTES[period] <= 60:
        return start + MINUTES[period]
    return min(start + MINUTES[period], day_start(day_start(start) + _DAY + 120))


def day_start(minute: int) -> int:
    """The last end of a trading day at or before this minute."""
    for guess in (minute + _DAY, minute, minute - _DAY):
        end = _end_of_day(guess // _DAY)
        if end <= minute:
            return end
    raise AssertionError(minute)


def is_open(minute: int) -> bool:
    """Whether the market is open at this minute: not between Friday's end and Sunday's."""
    return _date(day_start(minute)).weekday() not in (4, 5)


@lru_cache(maxsize=4096)
def _end_of_day(day: int) -> int:
    """17:00 in New York on the day that many days after 1970-01-01, as a minute of UTC."""
    return day * _DAY + _CLOSE + 60 * (4 if _is_summer(_date(day * _DAY)) else 5)


def _is_summer(date: dt.date) -> bool:
    """Whether New York has daylight saving time at the end of that day: from March's second Sunday to November's first."""
    return _sunday(date.year, 3, 2) <= date < _sunday(date.year, 11, 1)


def _sunday(year: int, month: int, number: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(_SUNDAY - first.weekday()) % 7 + 7 * (number - 1))


def _date(minute: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=minute // _DAY)


def _minute(date: dt.date) -> int:
    return (date - dt.date(1970, 1, 1)).days * _DAY
