"""OpenApiLine: the connection to one of cTrader's two hosts, and the accounts that live on it.

A line authenticates the application, finds its accounts and has an AccountWatch keep each of them authorised. Everything made for one
connection ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.message import Message

from tradesession import policy
from tradesession.ctrader.account_watch import AccountWatch, needs_news
from tradesession.ctrader.accounts import Account, Accounts, AccountState, choose
from tradesession.ctrader.config import Config
from tradesession.ctrader.handshake import authenticate_application, authorise, list_accounts
from tradesession.ctrader.refresh import Refresh, SocketExchange
from tradesession.ctrader.routing import OpenApiDialect
from tradesession.errors import Error, LinkLost, NotSent, Rejected
from tradesession.hooks import StepTimed
from tradesession.protocol.backoff import Backoff
from tradesession.protocol.turns import TokenBucket, Turns
from tradesession.session.link import Envelope, Link
from tradesession.session.services import Services
from tradesession.session.streams import Gap
from tradesession.session.supervisor import Line
from tradesession.tasks import TaskOwner
from tradesession.tokens.token import Token
from tradesession.transports.tcp import open_tcp
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import open_websocket
from tradesession.verdict import Action, Level, Verdict

_REFUSED_REQUEST: Final = Verdict(Action.FATAL, Level.REQUEST)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the handshake: its name, its duration in seconds, and the account it was about, if it was about one."""

    name: str
    seconds: float
    account_id: int | None = None


class OpenApiLine(Line):
    """The line of one environment. `on_event` gets everything that answers no request; `restore_account` brings its subscriptions back.

    `on_gap` is told when an account missed events although the connection stood, before anything can come for it again.
    """

    def __init__(
        self,
        config: Config,
        services: Services,
        accounts: Accounts,
        *,
        is_one_of_two: bool,
        chance: Callable[[], float],
        on_event: Callable[[OpenApiLine, Envelope], None],
        restore_account: Callable[[Account], Awaitable[None]],
        on_gap: Callable[[OpenApiLine, Account, Gap], None],
    ) -> None:
        self.name = f"ctrader {config.environment}"
        self.config = config
        self.steps: list[Step] = []
        """Those of the current connection, in the order in which they ended."""
        self.link: Link[Message] | None = None
        self.open = asyncio.Event()
        """Set while the application is authenticated and the accounts have been tried."""
        self._services = services
        self._clock = config.clock or services.clock
        self._accounts = accounts
        self._is_one_of_two = is_one_of_two
        self._chance = chance
        self._on_event = on_event
        self._restore_account = restore_account
        self._on_gap = on_gap
        self._watches: dict[int, AccountWatch] = {}
        self._authorising = asyncio.Semaphore(policy.AUTHORISATIONS_AT_ONCE)
        self._was_open = False  # whether it ever was
        self._listed_at = 0.0  # when the accounts of the current connection were known
        self._tasks = TaskOwner()
        self._resources = ExitStack()
        self._refreshes: SocketExchange | None = None  # over the connection that stands
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    # --- Line -------------------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """See Line."""
        config, clock = self.config, self._clock
        self.steps, self.last_heard = [], None
        self._lost = asyncio.get_running_loop().create_future()
        started = clock.monotonic()
        link = self.link = self._new_link()  # the server may speak, and end it, before the opening returns
        host, port = config.endpoint
        tls = tls_context(host=_peer(config), ca_file=config.ca_file, ssl_context=config.ssl_context, plaintext=config.plaintext)
        options: Any = {"tls": tls, "max_frame": config.max_frame, "clock": clock, "timeout": config.connect_timeout}
        if config.transport == "websocket":
            link.attach(await open_websocket(config.address, link, **options))
        else:
            link.attach(await open_tcp(host, port, link, **options))
        self._done("connect", started)

    async def handshake(self) -> None:
        """See Line. Returns when every account has been tried once; raises when none could be authorised and none ever was."""
        link = self._connected()
        try:
            await self._handshake(link)
        except Error as error:
            refusal = link.cause if isinstance(link.cause, Rejected) else error
            if isinstance(refusal, Rejected) and self._was_open and refusal.verdict == _REFUSED_REQUEST:
                refusal.verdict = Verdict(Action.RETRY, Level.LINK)  # the same request was taken before, and may be again
            if refusal is not error:
                raise refusal from None
            raise
        self._was_open = True
        self.open.set()

    async def _handshake(self, link: Link[Message]) -> None:
        started = self._clock.monotonic()
        await authenticate_application(link, self.config)
        started = self._done("application_auth", started)
        if isinstance(self._services.exchange, Refresh):
            # To give up on a refresh that left is to lose the pair: wait as long as a silent server may still be alive.
            patience = min(self.config.liveness_timeout, policy.EXCHANGE_LIMIT)
            self._refreshes = SocketExchange(link, self._clock, send_within=self.config.step_timeout, timeout=patience)
            self._resources.enter_context(self._services.exchange.over(self._refreshes))
        granted = await list_accounts(link, self._services.tokens, self.config)
        self._listed_at = self._done("account_list", started)
        mine = self._accounts.merge(choose(granted, self.config, is_one_of_two=self._is_one_of_two), self.config.environment == "live")
        is_first_time = not self._watches
        watches = [self._watches.get(account.id) or self._new_watch(account) for account in mine]
        for watch in watches:
            watch.begin()
            self._spawn(watch.run(), f"{self.name} account {watch.account.id}")
        for watch in self._watches.values():
            watch.tell()  # one whose account is no longer granted has news
        self._spawn(self._follow_rotations(), f"{self.name} rotations")
        await self._before_the_loss([watch.tried for watch in watches])
        if is_first_time and mine and not any(account.state is AccountState.AUTHORIZED for account in mine):
            raise next(account.cause for account in mine if account.cause is not None)

    async def restore(self) -> None:
        """See Line. Each account's watch brings its subscriptions back; here is what they have not done yet."""
        await self._before_the_loss([watch.restored for watch in self._watches.values()])

    async def lost(self) -> Exception:
        """See Line."""
        return await asyncio.shield(self._lost)

    async def disconnect(self, timeout: float) -> None:
        """See Line."""
        link, self.link = self.link, None
        self._shut()
        cause = self._lost.result() if self._lost.done() else None  # None where it is we who end it
        refreshes, self._refreshes = self._refreshes, None
        try:
            self._resources.close()  # no refresh begins here any more …
            await self._tasks.aclose()
            if refreshes is not None and link is not None and link.cause is None:
                await refreshes.settled()  # … and to close on one that has begun would be to lose the pair
            if link is not None:
                await link.aclose(timeout)
        finally:
            for watch in self._watches.values():
                watch.connection_ended(cause)

    # --- for the session ------------------------------------------------------------------------------------------------------------

    @property
    def stands(self) -> bool:
        """Whether there is a connection, as far as this side knows."""
        return self.link is not None and self.link.cause is None

    def passes(self, account_id: int | None) -> bool:
        """Whether requests (of the account) may pass now."""
        watch = self._watches.get(account_id) if account_id is not None else None
        return (watch.gate if watch is not None else self.open).is_set()

    async def usable_link(self, name: str, account_id: int | None) -> Link[Message]:
        """Wait until the line is open and, for an account of its own, that account is authorised; the link. Raises NotSent."""
        watch = self._watches.get(account_id) if account_id is not None else None
        await (watch.gate if watch is not None else self.open).wait()
        return self._connected(name)

    def wake_up(self) -> None:
        """Let everybody go who waits for the line: the session is over."""
        self.open.set()
        for watch in self._watches.values():
            watch.gate.set()

    def account_dropped(self, account_id: int, reason: str, *, token_refused: bool = False) -> bool:
        """The account's session has ended on the server's side; False when it is not of this line."""
        watch = self._watches.get(account_id)
        if watch is not None:
            watch.dropped(LinkLost(f"account {account_id}: {reason}"), token_refused=token_refused)
        return watch is not None

    def refusal_came(self, refusal: Rejected) -> bool:
        """The server refuses something and does not say what; False when it cannot be the connection, of which the handshake decides."""
        is_about_the_connection = self.link is not None and not self.open.is_set() and refusal.verdict.level is Level.LINK
        if self.link is not None and is_about_the_connection:
            self.link.fail(refusal)
        return is_about_the_connection

    def account_authorised(self, account_id: int) -> None:
        """The server has just said so; what it says of the account next comes after that."""
        watch = self._watches.get(account_id)
        if watch is not None:
            watch.answered()

    # --- inside ---------------------------------------------------------------------------------------------------------------------

    def _new_link(self) -> Link[Message]:
        config = self.config
        return Link(
            OpenApiDialect(self._clock.wall),
            Turns(
                TokenBucket(config.requests_per_second, policy.REQUEST_BURST),
                TokenBucket(config.historical_requests_per_second, policy.HISTORICAL_BURST),
            ),
            clock=self._clock,
            prefix=f"{self._services.random_id()}-",
            source=self.name,
            on_event=partial(self._on_event, self),
            on_lost=self._link_lost,
            hooks=self._services.hooks,
            heartbeat_interval=config.heartbeat_interval,
            liveness_timeout=config.liveness_timeout,
            request_timeout=config.request_timeout,
        )

    def _new_watch(self, account: Account) -> AccountWatch:
        watch = self._watches[account.id] = AccountWatch(
            account,
            source=self.name,
            clock=self._clock,
            services=self._services,
            backoff=Backoff(self._chance),
            authorise=self._authorise,
            restore=self._restore_account,
            on_gap=partial(self._on_gap, self),
            on_suspended=self._account_suspended,
        )
        return watch

    def _account_suspended(self) -> None:
        """Where all accounts wait for news, and one of them for a person, the connection is of no use: it ends until the token is newer."""
        accounts = [watch.account for watch in self._watches.values()]
        causes = [one.cause for one in accounts if one.state is AccountState.SUSPENDED and isinstance(one.cause, Error)]
        person = next((cause for cause in causes if cause.verdict.needs_human), None)
        if person is not None and len(causes) == len(accounts) and all(map(needs_news, causes)) and not self._lost.done():
            self._lost.set_result(person)

    async def _authorise(self, account: Account, is_first: bool) -> Token:
        async with self._authorising:  # the time limit counts from here: a server that takes one after the other needs it
            token = await authorise(self._connected(), account, self._services.tokens, self.config)
        if is_first:
            self._done("account_auth", self._listed_at, account)
        return token

    def _shut(self) -> None:
        """Nothing may be asked until there is a connection again."""
        self.open.clear()
        for watch in self._watches.values():
            watch.gate.clear()

    def _link_lost(self, cause: Error) -> None:
        self._shut()
        if self.link is not None:
            self.last_heard = self._clock.wall() - self.link.silence
        if not self._lost.done():
            self._lost.set_result(cause)

    async def _before_the_loss(self, events: Sequence[asyncio.Event]) -> None:
        """Wait for all of them; raises the cause when the connection is lost first."""

        async def all_of_them() -> None:
            for event in events:
                await event.wait()

        work: asyncio.Future[Any] = self._tasks.spawn(all_of_them(), name=f"{self.name} waiting for accounts")
        try:
            await asyncio.wait([work, self._lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
        if self._lost.done():
            raise self._lost.result()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """A task of this connection. None of them ends by itself: a mistake in one ends the line, loudly."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not self._lost.done():
                self._lost.set_result(error if isinstance(error, Exception) else RuntimeError(repr(error)))

        self._tasks.spawn(coroutine, name=name).add_done_callback(ended)

    def _connected(self, name: str = "the request") -> Link[Message]:
        if self.link is None:
            raise NotSent(f"{name} was not sent: {self.name} is not connected")
        return self.link

    def _done(self, name: str, started: float, account: Account | None = None) -> float:
        """A step that began at `started` has ended; the time now, from which the next one counts."""
        now = self._clock.monotonic()
        self._services.hooks.emit(StepTimed(source=self.name, step=name, seconds=now - started))
        self.steps.append(Step(name, now - started, account.id if account is not None else None))
        return now

    async def _follow_rotations(self) -> None:
        """After a rotation the accounts that still stand on an older token are authorised with the new one, in place."""
        async for token in self._services.tokens.changes():
            for watch in self._watches.values():
                held = watch.account.token
                if held is None or held.generation < token.generation:
                    watch.token_changed()


def _peer(config: Config) -> str:
    """Whom the connection is made to."""
    host, _ = config.endpoint
    if config.transport != "websocket":
        return host
    try:
        return urlsplit(config.address).hostname or host
    except ValueError:
        return host  # no address at all: whoever opens it says so
