"""Trading hours, as /symbol_info spells them: when a symbol may be expected to speak.

Pure. Knows sessions, days and time zones, and no holidays: those are the reason why nobody takes silence alone for certain.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, Self
from zoneinfo import ZoneInfo

_PART: Final = re.compile(r"([01]\d|2[0-4])([0-5]\d)-([01]\d|2[0-4])([0-5]\d)")
_FIRST_DAY: Final = re.compile(r"^[1-7];|;[1-7]$")  # of the week: nothing to us
_DAYS: Final = re.compile(r"[1-7]+")
_WEEKDAYS: Final = frozenset({2, 3, 4, 5, 6})  # 1 is Sunday


@dataclass(frozen=True, slots=True)
class Hours:
    """Sessions of a week in one time zone: for each the days whose session it is, and its beginning and end in minutes of the day.

    A session that ends no later than it begins has begun on the day before; from 0000 to 0000 is the whole of its own day.
    Without sessions it is open always.
    """

    zone: dt.tzinfo
    sessions: tuple[tuple[frozenset[int], int, int], ...]

    @classmethod
    def parse(cls, text: str, timezone: str) -> Self | None:
        """Such as `0930-1600`, `0900-1200,1300-1700:23456|1000-1400:7`, `24x7`; None for what cannot be read."""
        try:
            zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):  # not found is a KeyError; a path or a directory are the others
            return None
        text = _FIRST_DAY.sub("", text.strip())
        if text.lower() == "24x7":
            return cls(zone, ())
        sessions: list[tuple[frozenset[int], int, int]] = []
        for group in text.split("|"):
            times, colon, days = group.partition(":")
            if colon and not _DAYS.fullmatch(days):
                return None
            of_days = frozenset(map(int, days)) if colon else _WEEKDAYS
            for part in times.split(","):
                match = _PART.fullmatch(part.strip())
                if match is None:
                    return None
                begin_hour, begin_minute, end_hour, end_minute = map(int, match.groups())
                begin, end = 60 * begin_hour + begin_minute, 60 * end_hour + end_minute
                sessions.append((of_days, begin, end if begin or end else 24 * 60))
        return cls(zone, tuple(sessions))

    def is_open(self, wall: float) -> bool:
        """Whether a session is on at this time (seconds since 1970)."""
        if not self.sessions:
            return True
        local = dt.datetime.fromtimestamp(wall, self.zone)
        minute, day = 60 * local.hour + local.minute, local.isoweekday() % 7 + 1
        return any(_covers(session, day, minute) for session in self.sessions)


def _covers(session: tuple[frozenset[int], int, int], day: int, minute: int) -> bool:
    days, begin, end = session
    if begin < end:
        return day in days and begin <= minute < end
    return (day in days and minute < end) or (day % 7 + 1 in days and minute >= begin)
