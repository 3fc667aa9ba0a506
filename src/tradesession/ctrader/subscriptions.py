"""Subscriptions: what is wanted of each account (intent), and what the server has taken (confirmation).

A topic is subscribed once however many want it, and unsubscribed when the last one lets go. After every authorisation of an account its
topics are subscribed anew, spots before the bars that ride on them. A topic that is refused on the way back stays wanted and is tried
again. `request` sends a request and gives its reply.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from google.protobuf.message import Message

from tradesession.ctrader.messages import (
    ProtoOASubscribeDepthQuotesReq,
    ProtoOASubscribeLiveTrendbarReq,
    ProtoOASubscribeSpotsReq,
    ProtoOAUnsubscribeDepthQuotesReq,
    ProtoOAUnsubscribeLiveTrendbarReq,
    ProtoOAUnsubscribeSpotsReq,
)
from tradesession.errors import Error, Rejected

Requester = Callable[[Message], Awaitable[Any]]


class Feed(enum.IntEnum):
    """What can be subscribed, in the order in which it is restored; it is let go in the opposite order."""

    SPOTS = 0
    BARS = 1
    DEPTH = 2


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """One feed of one symbol; `period` is a ProtoOATrendbarPeriod, of bars."""

    feed: Feed
    symbol_id: int
    period: int = 0


@dataclass(slots=True)
class _Interest:
    """Who wants a topic, and how the server takes it."""

    count: int = 0
    timestamps: bool = False
    under_way: asyncio.Future[None] | None = None
    """Done when the subscription was answered, one way or the other; None when it is."""


class Subscriptions:
    """The subscriptions of one session."""

    def __init__(self, request: Requester) -> None:
        self._request = request
        self._interests: dict[int, dict[Topic, _Interest]] = {}

    def is_wanted(self, account_id: int, topic: Topic) -> bool:
        """Whether anybody wants this topic; events of others are stray."""
        return topic in self._interests.get(account_id, ())

    async def acquire(self, account_id: int, topics: Iterable[Topic], *, timestamps: bool = False) -> None:
        """Want these topics, once more; those that nobody wanted before are subscribed. Raises what the server refuses them with.

        A topic whose subscription is under way for somebody else is waited for, as it may be refused. `timestamps` asks for the server's
        time of each price, as far as the topic is new.
        """
        wanted = sorted(set(topics))
        interests = self._interests.setdefault(account_id, {})
        while pending := [one.under_way for topic in wanted if (one := interests.get(topic)) is not None and one.under_way is not None]:
            await asyncio.wait(pending)
        new = [topic for topic in wanted if topic not in interests]
        for topic in wanted:
            interests.setdefault(topic, _Interest(timestamps=timestamps)).count += 1
        if not new:
            return
        under_way = asyncio.get_running_loop().create_future()
        for topic in new:
            interests[topic].under_way = under_way
        try:
            await self._subscribe(account_id, new)
        except BaseException:
            for topic in new:
                interests.pop(topic, None)
            for topic in set(wanted) - set(new):
                self._let_go(account_id, topic)
            raise
        finally:
            for topic in new:
                if topic in interests:
                    interests[topic].under_way = None
            under_way.set_result(None)

    async def release(self, account_id: int, topics: Iterable[Topic]) -> None:
        """Want these topics once less; those that nobody wants any more are unsubscribed."""
        unwanted = [topic for topic in sorted(set(topics), reverse=True) if self._let_go(account_id, topic)]
        try:
            for request in _requests(account_id, unwanted, _UNSUBSCRIBE, frozenset()):
                await self._request(request)
        except Error:
            return  # the intent is gone, and stray events are dropped: what the server thinks of it no longer matters

    async def restore(self, account_id: int) -> None:
        """Subscribe everything anew that is wanted of the account. Raises the first refusal, when all have been tried."""
        wanted = sorted(topic for topic, one in self._interests.get(account_id, {}).items() if one.under_way is None)
        await self._subscribe(account_id, wanted, keep_going=True)

    # --- inside -------------------------------------------------------------------------------------------------------------------

    def _let_go(self, account_id: int, topic: Topic) -> bool:
        """One less wants it; whether that was the last one."""
        interests = self._interests.get(account_id, {})
        interest = interests.get(topic)
        if interest is None:
            return False
        interest.count -= 1
        if interest.count > 0:
            return False
        del interests[topic]
        return True

    async def _subscribe(self, account_id: int, topics: Sequence[Topic], *, keep_going: bool = False) -> None:
        refusal: Rejected | None = None
        stamped = {topic for topic, one in self._interests.get(account_id, {}).items() if one.timestamps}
        for request in _requests(account_id, topics, _SUBSCRIBE, stamped):
            try:
                await self._ask(request)
            except Rejected as error:
                if not keep_going:
                    raise
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def _ask(self, request: Any) -> None:
        """Send a subscription; what is subscribed already counts as success."""
        try:
            await self._request(request)
        except Rejected as refusal:
            if refusal.code != "ALREADY_SUBSCRIBED":
                raise
            ids = [] if isinstance(request, ProtoOASubscribeLiveTrendbarReq) else list(request.symbolId)
            if len(ids) > 1:  # which of them, and whether the others were taken, is not told: ask one by one
                for symbol_id in ids:
                    one = type(request)()
                    one.CopyFrom(request)
                    del one.symbolId[:]
                    one.symbolId.append(symbol_id)
                    await self._ask(one)


_SUBSCRIBE: Final = {
    Feed.SPOTS: ProtoOASubscribeSpotsReq,
    Feed.BARS: ProtoOASubscribeLiveTrendbarReq,
    Feed.DEPTH: ProtoOASubscribeDepthQuotesReq,
}
_UNSUBSCRIBE: Final = {
    Feed.SPOTS: ProtoOAUnsubscribeSpotsReq,
    Feed.BARS: ProtoOAUnsubscribeLiveTrendbarReq,
    Feed.DEPTH: ProtoOAUnsubscribeDepthQuotesReq,
}


def _requests(account_id: int, topics: Sequence[Topic], classes: dict[Feed, Any], stamped: Collection[Topic]) -> list[Any]:
    """The requests for these topics, in their order: one for all symbols of a feed, except bars, which take one each."""
    requests: list[Any] = []
    for feed, group in groupby(topics, key=lambda topic: topic.feed):
        members = list(group)
        if feed is Feed.BARS:
            requests += [classes[feed](ctidTraderAccountId=account_id, symbolId=one.symbol_id, period=one.period) for one in members]
            continue
        for with_timestamps in (False, True):
            ids = [topic.symbol_id for topic in members if (topic in stamped) is with_timestamps]
            if ids:
                request = classes[feed](ctidTraderAccountId=account_id, symbolId=ids)
                if with_timestamps and feed is Feed.SPOTS:
                    request.subscribeToSpotTimestamp = True
                requests.append(request)
    return requests
