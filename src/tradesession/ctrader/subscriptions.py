"""Subscriptions: what is wanted of each account (intent), and what the server has taken (confirmation).

A topic is subscribed once however many want it, and unsubscribed when the last one lets go. After every authorisation of an account its
topics are subscribed anew, spots before the bars that ride on them. A topic that is refused on the way back stays wanted and is tried
again; it does not keep the others back. Always holds: of one topic, only one subscription or unsubscription is under way.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
from tradesession.verdict import Action, Level, Verdict

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
    """Done when its subscription, or the end of it, has been answered, one way or the other; None when it has."""


def _nothing(account_id: int, topic: Topic) -> None:
    """What happens where nobody wants to know."""


class Subscriptions:
    """The subscriptions of one session.

    `request` waits for the connection where there is none, `request_now` does not. `on_begin` is told of each topic before its subscription
    leaves: whatever was known of it is old. `on_standing` is told when the server says that it was subscribed all the time.
    """

    def __init__(
        self,
        request: Requester,
        *,
        request_now: Requester | None = None,
        on_begin: Callable[[int, Topic], None] = _nothing,
        on_standing: Callable[[int, Topic], None] = _nothing,
    ) -> None:
        self._request = request
        self._request_now = request_now or request
        self._on_begin = on_begin
        self._on_standing = on_standing
        self._interests: dict[int, dict[Topic, _Interest]] = {}

    def is_wanted(self, account_id: int, topic: Topic) -> bool:
        """Whether anybody wants this topic; events of others are stray."""
        interest = self._interests.get(account_id, {}).get(topic)
        return interest is not None and interest.count > 0

    async def acquire(self, account_id: int, topics: Iterable[Topic], *, timestamps: bool = False) -> None:
        """Want these topics, once more; those that nobody wanted before are subscribed. Raises what the server refuses them with.

        A topic whose subscription (or its end) is under way for somebody else is waited for, as it may be refused. `timestamps` asks for
        the server's time of each price; spots that are subscribed without it are subscribed anew.
        """
        wanted = sorted(set(topics))
        interests = self._interests.setdefault(account_id, {})
        while pending := [one.under_way for topic in wanted if (one := interests.get(topic)) is not None and one.under_way is not None]:
            await asyncio.wait(pending)
        new = [topic for topic in wanted if topic not in interests]
        unstamped = [
            topic for topic in wanted if timestamps and topic.feed is Feed.SPOTS and topic not in new and not interests[topic].timestamps
        ]
        for topic in wanted:
            interests.setdefault(topic, _Interest()).count += 1
            interests[topic].timestamps |= timestamps
        under_way = self._begin(account_id, new)
        try:
            for request, members in self._requests(account_id, new):
                await self._subscribe(account_id, request, members, is_new=True)
                for topic in members:
                    interests[topic].under_way = None
            await self._stamp(account_id, unstamped)
        except BaseException as error:
            taken = [topic for topic in wanted if self._let_go(account_id, topic) and interests[topic].under_way is None]
            for topic in [topic for topic in new if interests[topic].under_way is under_way]:
                del interests[topic]
            if isinstance(error, Error):
                await self._unsubscribe(account_id, taken)
            else:  # cancelled: there is no time for a goodbye, and what still comes is dropped
                for topic in taken:
                    del interests[topic]
            raise
        finally:
            under_way.set_result(None)

    async def release(self, account_id: int, topics: Iterable[Topic]) -> None:
        """Want these topics once less; those that nobody wants any more are unsubscribed."""
        await self._unsubscribe(account_id, [topic for topic in sorted(set(topics)) if self._let_go(account_id, topic)])

    async def restore(self, account_id: int) -> None:
        """Subscribe everything anew that is wanted of the account. Raises the first refusal, when all have been tried.

        What is under way is not touched: its own request goes on, over the new connection if need be.
        """
        interests = self._interests.get(account_id, {})
        wanted = sorted(topic for topic, one in interests.items() if one.under_way is None)
        refusal: Rejected | None = None
        for request, members in self._requests(account_id, wanted):
            try:
                await self._subscribe(account_id, request, members, is_new=False)
            except Rejected as error:
                refusal = refusal or error
        if refusal is not None:
            if refusal.verdict.level is Level.REQUEST and refusal.verdict.action is Action.FATAL:
                refusal.verdict = Verdict(Action.RETRY, Level.REQUEST)  # it was taken before, and may be again: somebody waits for it
            raise refusal

    # --- inside -------------------------------------------------------------------------------------------------------------------

    def _begin(self, account_id: int, topics: Iterable[Topic]) -> asyncio.Future[None]:
        """Something is under way with these topics."""
        under_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for topic in topics:
            self._interests[account_id][topic].under_way = under_way
        return under_way

    def _let_go(self, account_id: int, topic: Topic) -> bool:
        """One less wants it; whether that was the last one."""
        interest = self._interests.get(account_id, {}).get(topic)
        if interest is None or interest.count == 0:
            return False
        interest.count -= 1
        return interest.count == 0

    def _is_stamped(self, account_id: int, topic: Topic) -> bool:
        interest = self._interests.get(account_id, {}).get(topic)
        return interest is not None and interest.timestamps

    def _requests(
        self, account_id: int, topics: Sequence[Topic], classes: Mapping[Feed, Any] | None = None
    ) -> list[tuple[Any, list[Topic]]]:
        """The requests for these topics, in their order: one for all symbols of a feed, except bars, which take one each."""
        requests: list[tuple[Any, list[Topic]]] = []
        classes = classes or _SUBSCRIBE
        for feed, group in groupby(topics, key=lambda topic: topic.feed):
            members = list(group)
            if feed is Feed.BARS:
                requests += [
                    (classes[feed](ctidTraderAccountId=account_id, symbolId=one.symbol_id, period=one.period), [one]) for one in members
                ]
                continue
            for stamped in (False, True):
                some = [topic for topic in members if self._is_stamped(account_id, topic) is stamped]
                if some:
                    request = classes[feed](ctidTraderAccountId=account_id, symbolId=[topic.symbol_id for topic in some])
                    if stamped and isinstance(request, ProtoOASubscribeSpotsReq):
                        request.subscribeToSpotTimestamp = True
                    requests.append((request, some))
        return requests

    async def _subscribe(self, account_id: int, request: Any, members: Sequence[Topic], *, is_new: bool) -> None:
        """Send a subscription; what is subscribed already counts as success."""
        for topic in members:
            self._on_begin(account_id, topic)
        try:
            await self._request(request)
        except Rejected as refusal:
            stands = refusal.code == "ALREADY_SUBSCRIBED"
            if len(members) > 1 and (stands or (not is_new and refusal.verdict.action is Action.FATAL)):
                await self._one_by_one(account_id, request, members, is_new=is_new)
            elif stands:
                await self._subscribed_already(account_id, request, members[0], is_new=is_new)
            elif members[0].feed is Feed.BARS and refusal.code in _WITHOUT_SPOTS:
                await self._spots_first(account_id, request, members[0])
            else:
                raise

    async def _one_by_one(self, account_id: int, request: Any, members: Sequence[Topic], *, is_new: bool) -> None:
        """Which of them it is, and whether the others were taken, is not told. Raises the first refusal, when all have been tried."""
        refusal: Rejected | None = None
        for topic in members:
            one = type(request)()
            one.CopyFrom(request)
            one.symbolId[:] = [topic.symbol_id]
            try:
                await self._subscribe(account_id, one, [topic], is_new=is_new)
            except Rejected as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def _subscribed_already(self, account_id: int, request: Any, topic: Topic, *, is_new: bool) -> None:
        """The server has it from before. Begin anew where that leaves us without what comes first: the last price, the whole order book."""
        if topic.feed is Feed.DEPTH or (topic.feed is Feed.SPOTS and is_new):
            await self._refused_or_not(self._requests(account_id, [topic], _UNSUBSCRIBE)[0][0])
            self._on_begin(account_id, topic)
            await self._refused_or_not(request)
        else:
            self._on_standing(account_id, topic)

    async def _spots_first(self, account_id: int, request: Any, topic: Topic) -> None:
        """The connection was lost between the spots and these bars, and the spots are not back yet."""
        spots = Topic(Feed.SPOTS, topic.symbol_id)
        if self.is_wanted(account_id, spots):
            await self._refused_or_not(self._requests(account_id, [spots])[0][0])
        await self._request(request)

    async def _stamp(self, account_id: int, spots: Sequence[Topic]) -> None:
        """Subscribe these spots anew, now with timestamps, and the bars that ride on them."""
        if not spots:
            return
        symbols = {topic.symbol_id for topic in spots}
        interests = self._interests[account_id]
        riding = [one for one in interests if one.feed is Feed.BARS and one.symbol_id in symbols and interests[one].under_way is None]
        topics = sorted([*spots, *riding])
        for request, _ in self._requests(account_id, topics[::-1], _UNSUBSCRIBE):
            await self._refused_or_not(request)
        for request, members in self._requests(account_id, topics):
            await self._subscribe(account_id, request, members, is_new=False)

    async def _refused_or_not(self, request: Any) -> None:
        with suppress(Rejected):
            await self._request(request)

    async def _unsubscribe(self, account_id: int, topics: Sequence[Topic]) -> None:
        """Let go of these in the opposite order. A failure is nobody's concern: stray events are dropped."""
        under_way = self._begin(account_id, topics)
        try:
            for request, _ in self._requests(account_id, sorted(topics, reverse=True), _UNSUBSCRIBE):
                await self._request_now(request)
        except Error:
            return  # the intent is gone, and what the server thinks of it no longer matters
        finally:
            for topic in topics:
                del self._interests[account_id][topic]
            under_way.set_result(None)


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
_WITHOUT_SPOTS: Final = frozenset({"NOT_SUBSCRIBED_TO_SPOTS", "INVALID_REQUEST"})
"""How bars are refused whose spots are not subscribed; the second is what servers were seen to say."""
