"""HubLine: the connection to one hub, kept for months: what was asked for comes back after a loss, and a bearer that ends costs nothing.

The supervisor opens it again after a loss. Before its bearer ends, the line itself makes another connection, brings everything over, and
lets the old one go when it is not needed any more: streams and events run on, each item once, in order.

A platform's Session has one HubLine for each of its hubs in `_lines()`, shows each by a HubClient(self, line), and sets `line.open` of each
in `_finished()`. What comes before the hub (a token, another host) goes into `connect`, what comes first on it into `handshake`, each with
its `super()`; a call whose effect every connection needs is an Intent in `intents`. docs/signalr.md has one that the tests run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error, LinkLost, NotSent, Rejected
from tradesession.hooks import Hooks, NotRestored, StepTimed, Unclassified, one_line
from tradesession.protocol.handover import Handover
from tradesession.protocol.signalr.records import Invocation
from tradesession.session.streams import Gap
from tradesession.session.supervisor import Line
from tradesession.signalr.bearer import TokenSource
from tradesession.signalr.calls import Answers
from tradesession.signalr.config import Config
from tradesession.signalr.feeds import Feed, StreamFeed
from tradesession.signalr.link import HubLink
from tradesession.signalr.opening import Opener
from tradesession.signalr.pushes import Pushes
from tradesession.signalr.renewal import keep_renewing
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline, sleep
from tradesession.tokens.token import Token


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to READY: `negotiate`, `connect`, `handshake`, `restore`; its duration in seconds."""

    name: str
    seconds: float


@dataclass(eq=False, slots=True)
class Intent:
    """A call whose effect lies on the server's side of the connection, so that another connection needs it again."""

    target: str
    arguments: tuple[Any, ...] = field(repr=False)
    cause: Error | None = None
    """Why it could not be repeated on the present connection; None when it could."""


class HubLine(Line):
    """One hub. `spawn` runs what outlives the connection (the answers to the server's calls)."""

    def __init__(
        self,
        config: Config,
        source: TokenSource,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self.name = config.name
        self.config = config
        self.source = source
        self.clock = clock
        self.link: HubLink | None = None
        """The connection in use."""
        self.open = asyncio.Event()
        """Set while calls may pass."""
        self.steps: list[Step] = []
        """Those of the present connection, in the order in which they ended."""
        self.renewals = 0
        """How many connections were replaced before their bearer ended."""
        self.asking = asyncio.Lock()
        """Held while intents change, or are brought over."""
        self.pushes = Pushes(clock)
        self.answers = Answers(config.name, spawn)
        self.intents: list[Intent] = []
        self.feeds: list[StreamFeed] = []
        self._hooks = hooks
        self._chance = chance
        self._going: HubLink | None = None  # while another one takes over from it
        self._links: list[HubLink] = []  # all that have to be closed
        self._aligned = asyncio.Event()
        self._alone = asyncio.Event()  # set while no other one takes over from the connection in use
        self._alone.set()
        self._renewing = asyncio.Lock()
        self._unknown: set[str] = set()
        self._tasks = TaskOwner()
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    # --- Line -----------------------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """See Line."""
        self._lost, self.last_heard = asyncio.get_running_loop().create_future(), None
        self.link, self.steps = self._new_link()
        await self.link.open()

    async def handshake(self) -> None:
        """See Line."""
        link = self._present()
        await self._timed(self.steps, "handshake", link.handshake())

    async def restore(self) -> None:
        """See Line. An intent that the server refuses now does not hold up the others."""
        link = self._present()
        async with self.asking:
            await self._timed(self.steps, "restore", self._bring_over(link))
            for feed in tuple(self.feeds):
                feed.begin(link)
        self._present()
        self.open.set()
        if self.config.renew:
            self._tasks.spawn(keep_renewing(self), name=f"{self.name} renews").add_done_callback(self._renewing_failed)

    async def lost(self) -> Exception:
        """See Line."""
        return await asyncio.shield(self._lost)

    async def disconnect(self, timeout: float) -> None:
        """See Line."""
        self.open.clear()
        links, self._links, self.link, self._going = self._links, [], None, None
        self._detach(quietly=not self._lost.done())  # by its owner's wish streams end with the session
        self._lost.cancel()  # harmless when the cause is there
        try:
            await self._tasks.aclose()
            self._alone.set()
        finally:
            async with asyncio.TaskGroup() as group:
                for link in links:
                    group.create_task(link.aclose(timeout))
            self._detach(quietly=True)

    @property
    def token(self) -> Token | None:
        """The source's token that the present connection stands on."""
        return self.link.wire.token if self.link is not None else None

    # --- for whoever calls -------------------------------------------------------------------------------------------------------------

    def usable(self, name: str) -> HubLink:
        """The connection in use. Raises NotSent when calls may not pass now."""
        if self.link is None or not self.open.is_set():
            raise NotSent(f"{name} was not sent: {self.name} is not connected")
        return self.link

    def add(self, feed: StreamFeed) -> None:
        """Begin a stream: now, or with the next connection."""
        self.feeds.append(feed)
        if self.link is not None and self.open.is_set():
            feed.begin(self.link)

    def remove(self, feed: StreamFeed) -> None:
        """The stream has ended, or nobody reads it."""
        if feed in self.feeds:
            self.feeds.remove(feed)
        feed.close()
        self._look_aligned()

    async def repeat(self, link: HubLink, target: str, arguments: tuple[Any, ...]) -> None:
        """One call of the line's own on this connection, with the configuration's deadline. Raises as `HubLink.invoke` does."""
        budget = self.config.call_timeout
        await link.invoke(target, arguments, until=self.clock.monotonic() + budget, budget=budget, repeatable=True)

    # --- LinkOwner ---------------------------------------------------------------------------------------------------------------------

    def called(self, link: HubLink, call: Invocation) -> None:
        """See LinkOwner."""
        if link is self.link or link is self._going:
            self.pushes.take(call, is_old=link is self._going)
        if call.invocation_id is not None:
            self.answers.answer(link, call)

    def recalled(self, link: HubLink, invocation_id: str) -> None:
        """See LinkOwner."""
        self.answers.recall(link, invocation_id)

    def strayed(self, what: str) -> None:
        """See LinkOwner."""
        if what not in self._unknown:
            self._unknown.add(what)
            self._hooks.emit(Unclassified(source=self.name, what=what))

    def ended(self, link: HubLink, cause: Error) -> None:
        """See LinkOwner."""
        if link is self.link:
            self.open.clear()
            self.last_heard = self.clock.wall() - link.wire.silence
            if not self._lost.done():
                self._lost.set_result(cause)
        elif link is self._going:
            self._going = None
            for feed in self.pushes.feeds():
                feed.end_old(Gap("the connection was lost while another one took over"))

    # --- renewal -------------------------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Replace the connection by another one, opened with the source's token of now; the old one goes when nothing needs it any more.

        Raises what prevented it; all is as it was then.
        """
        async with self._renewing:
            await self._alone.wait()
            self.usable("a renewal")
            link, steps = self._new_link()
            try:
                await link.open()
                await self._timed(steps, "handshake", link.handshake())
                async with self.asking:
                    await self._timed(steps, "restore", self._bring_over(link))
                    self._switch(link, steps)
            except BaseException:
                await self._close(link)
                raise
            self.renewals += 1

    def _switch(self, link: HubLink, steps: list[Step]) -> None:
        """Let this connection take over. Raises what ended it, or the other one, meanwhile."""
        old = self.usable("a renewal")
        if link.cause is not None:
            raise link.cause
        self.link, self._going, self.steps = link, old, steps
        self._alone.clear()
        self._aligned.clear()
        for push in self.pushes.feeds():
            push.begin_handover(self._look_aligned)
        for feed in tuple(self.feeds):
            if feed.restart:
                feed.hand_over(link, self._look_aligned)
        self._look_aligned()
        self._tasks.spawn(self._retire(old), name=f"{self.name} retires a connection")

    async def _retire(self, old: HubLink) -> None:
        """See the old connection off: until all is aligned and a little longer, then until nothing is under way on it."""
        try:
            async with deadline(self.clock, self._overlap(old)):
                await self._aligned.wait()
                await sleep(self.clock, policy.HUB_LINGER)
        except TimeoutError:
            pass  # a quiet stream has brought nothing to compare: what both would have brought, the new one has
        self._going = None
        feeds = [(feed, feed.handover) for feed in (*self.pushes.feeds(), *self.feeds)]
        for feed, _ in feeds:
            feed.let_go()
        self._tasks.spawn(self._settle(feeds), name=f"{self.name} settles")
        self._alone.set()
        await old.drained()
        await self._close(old)

    async def _settle(self, feeds: list[tuple[Feed, Handover[Any] | None]]) -> None:
        await sleep(self.clock, policy.HANDOVER_SETTLE)
        for feed, handover in feeds:
            feed.settle(handover)

    def _overlap(self, old: HubLink) -> float:
        """How long the old connection may stay: half of what its bearer has left, or a moment, as a server may close it when that ends."""
        left = old.wire.token.remaining(self.clock.wall()) if old.wire.token is not None else None
        return self.config.overlap if left is None else min(self.config.overlap, max(policy.HUB_OVERLAP_LEAST, left / 2))

    async def _close(self, link: HubLink) -> None:
        await link.aclose(self.config.close_timeout)
        if link in self._links:  # else whoever disconnects closes it as well
            self._links.remove(link)

    def _look_aligned(self) -> None:
        if all(feed.is_aligned for feed in self.feeds) and all(feed.is_aligned for feed in self.pushes.feeds()):
            self._aligned.set()

    # --- inside --------------------------------------------------------------------------------------------------------------------------

    def _present(self) -> HubLink:
        """The connection that is being brought up. Raises the cause when it has ended meanwhile."""
        assert self.link is not None, "connect comes first"
        if self.link.cause is not None:
            raise self.link.cause
        return self.link

    def _detach(self, *, quietly: bool) -> None:
        """Let go of the connections for every stream; unless `quietly`, those that end with theirs are left to hear of it."""
        for push in self.pushes.feeds():
            push.detach()
        for feed in self.feeds:
            if quietly or feed.restart:
                feed.detach()

    def _new_link(self) -> tuple[HubLink, list[Step]]:
        steps: list[Step] = []
        mark = self.clock.monotonic()

        def done(name: str) -> None:
            nonlocal mark
            began, mark = mark, self.clock.monotonic()
            self._note(steps, name, mark - began)

        def refused(token: Token) -> None:
            self.refused = token.access

        opener = Opener(self.config, self.source, self.clock, done, refused)
        link = HubLink(self.config, opener, self, clock=self.clock, hooks=self._hooks, chance=self._chance)
        self._links.append(link)
        return link, steps

    def _note(self, steps: list[Step], name: str, seconds: float) -> None:
        steps.append(Step(name, seconds))
        self._hooks.emit(StepTimed(source=self.name, step=name, seconds=seconds))

    async def _timed(self, steps: list[Step], name: str, work: Coroutine[Any, Any, None]) -> None:
        began = self.clock.monotonic()
        await work
        self._note(steps, name, self.clock.monotonic() - began)

    async def _bring_over(self, link: HubLink) -> None:
        """Repeat every intent on this connection. Raises NotSent or LinkLost when that ends meanwhile."""
        for intent in tuple(self.intents):
            try:
                await self.repeat(link, intent.target, intent.arguments)
                intent.cause = None
            except Rejected as refusal:
                intent.cause = refusal
                self._hooks.emit(NotRestored(source=self.name, what=intent.target, cause=one_line(refusal)))

    def _renewing_failed(self, task: asyncio.Task[None]) -> None:
        """It never ends by itself: a mistake in it ends the line, loudly."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._lost.done():
            self._lost.set_result(error if isinstance(error, Exception) else LinkLost(repr(error)))
