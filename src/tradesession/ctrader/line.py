"""OpenApiLine: the connection to one of cTrader's two hosts, and the accounts that live on it.

A line authenticates the application, finds its accounts and keeps each of them authorised by itself: one that is dropped, refused
or in maintenance comes back in its own time and never delays another. Everything made for one connection ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import Message

from tradesession import policy
from tradesession.ctrader.accounts import Account, Accounts, AccountState, choose
from tradesession.ctrader.config import Config
from tradesession.ctrader.handshake import authenticate_application, authorise, list_accounts
from tradesession.ctrader.refresh import Refresh, SocketExchange
from tradesession.ctrader.routing import OpenApiDialect
from tradesession.errors import Error, LinkLost, NotSent
from tradesession.hooks import AccountChanged, NotRestored, Record, Recovered, StepTimed, one_line
from tradesession.protocol.backoff import Backoff
from tradesession.protocol.turns import TokenBucket, Turns
from tradesession.session.link import Envelope, Link
from tradesession.session.services import Services
from tradesession.session.supervisor import Line
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline
from tradesession.transports.tcp import open_tcp
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import open_websocket
from tradesession.verdict import Action


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the handshake: its name, its duration in seconds, and the account it was about, if it was about one."""

    name: str
    seconds: float
    account_id: int | None = None


class OpenApiLine(Line):
    """The line of one environment. `on_event` gets everything that answers no request; `restore_account` brings its subscriptions back."""

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
        self._watches: dict[int, _AccountWatch] = {}
        self._authorising = asyncio.Semaphore(policy.AUTHORISATIONS_AT_ONCE)
        self._tasks = TaskOwner()
        self._resources = ExitStack()
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    # --- Line -------------------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """See Line."""
        config, clock = self.config, self._clock
        self.steps = []
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
        started = self._clock.monotonic()
        await authenticate_application(link, self.config)
        started = self._done("application_auth", started)
        if isinstance(self._services.exchange, Refresh):
            socket = SocketExchange(link, self._clock, self.config.step_timeout)
            self._resources.enter_context(self._services.exchange.over(socket))
        granted = await list_accounts(link, self._services.tokens, self.config)
        started = self._done("account_list", started)
        mine = self._accounts.merge(choose(granted, self.config, is_one_of_two=self._is_one_of_two), self.config.environment == "live")
        is_first_time = not self._watches
        watches = [self._watches.setdefault(account.id, _AccountWatch(self, account)) for account in mine]
        for watch in watches:
            watch.begin(started)
            self._spawn(watch.run(), f"{self.name} account {watch.account.id}")
        for watch in self._watches.values():
            watch.tell()  # one whose account is no longer granted has news
        self._spawn(self._follow_rotations(), f"{self.name} rotations")
        await self._before_the_loss([watch.tried for watch in watches])
        if is_first_time and mine and not any(account.state is AccountState.AUTHORIZED for account in mine):
            raise next(account.cause for account in mine if account.cause is not None)
        self.open.set()

    async def restore(self) -> None:
        """See Line. Each account's watch brings its subscriptions back; here is what they have not done yet."""
        await self._before_the_loss([watch.restored for watch in self._watches.values()])

    async def lost(self) -> Exception:
        """See Line."""
        return await asyncio.shield(self._lost)

    async def disconnect(self, timeout: float) -> None:
        """See Line."""
        link, self.link = self.link, None
        self.open.clear()
        cause = self._lost.result() if self._lost.done() else None  # None where it is we who end it
        try:
            await self._tasks.aclose()
            if link is not None:
                await link.aclose(timeout)
        finally:
            self._resources.close()
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

    def done(self, name: str, started: float, account: Account | None = None) -> float:
        """A step that began at `started` has ended; the time now, from which the next one counts."""
        return self._done(name, started, account)

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

    def _link_lost(self, cause: Error) -> None:
        self.open.clear()
        for watch in self._watches.values():
            watch.gate.clear()
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


class _AccountWatch:
    """Keeps one account authorised on the current connection: try, wait, try again; each account in its own time."""

    def __init__(self, line: OpenApiLine, account: Account) -> None:
        self.account = account
        self.gate = asyncio.Event()
        """Set while requests of the account may pass."""
        self.tried = asyncio.Event()
        """Set when the first attempt has ended, either way."""
        self.restored = asyncio.Event()
        """Set when its subscriptions are back, or it has none to bring back now."""
        self._line = line
        self._started = 0.0
        self._news = asyncio.Event()
        self._is_restored = False  # whether its subscriptions stand since it was authorised last
        self._token_refused = False
        self._backoff = Backoff(line._chance)
        self._told = account.state
        self._unrestored = 0  # attempts in a row after which subscriptions were missing
        self._out_since: float | None = None  # since when it has been suspended, or was and is not authorised yet

    def begin(self, started: float) -> None:
        """There is a new connection; its last step ended at `started`."""
        self._started = started
        self._is_restored = False
        self.tried.clear()
        self.restored.clear()

    async def run(self) -> None:
        """Until the connection ends."""
        while True:
            self._news.clear()
            pause = await self._attempt()
            self.tried.set()
            self.restored.set()
            try:
                async with deadline(self._line._clock, pause):
                    await self._news.wait()
            except TimeoutError:
                continue

    def dropped(self, cause: Error, *, token_refused: bool) -> None:
        """The server ended the account's session, or refuses its requests as if it had."""
        if self.account.state is AccountState.AUTHORIZING:
            return  # the answer to that will tell
        self._token_refused = self._token_refused or token_refused
        self._enter(AccountState.SUSPENDED, cause)
        self._news.set()

    def token_changed(self) -> None:
        """There is a newer token than the one that the account stood on, when it was looked at."""
        self._news.set()

    def connection_ended(self, cause: Exception | None) -> None:
        """The account stands nowhere now."""
        self.tried.set()
        self.restored.set()
        self._enter(AccountState.UNKNOWN, cause or self.account.cause)

    async def _attempt(self) -> float | None:
        """Bring the account up as far as it goes; the seconds until the next attempt, None for when there is news."""
        try:
            if self.account.state is not AccountState.AUTHORIZED or self._stands_on_an_older_token():
                self._is_restored = False
                await self._authorise()
            if not self._is_restored:
                await self._line._restore_account(self.account)
                self._is_restored = True
        except Error as error:
            if self.account.state is not AccountState.AUTHORIZED:
                self._enter(AccountState.SUSPENDED, error)
            return self._pause(error)
        self._unrestored = 0
        self._backoff.ready(self._line._clock.monotonic())
        return None

    def _stands_on_an_older_token(self) -> bool:
        """Asked when it matters: the news of a rotation may come after the account was authorised with the new token already."""
        held, current = self.account.token, self._line._services.tokens.peek()
        return held is not None and current is not None and held.generation < current.generation

    async def _authorise(self) -> None:
        line, account = self._line, self.account
        tokens = line._services.tokens
        async with line._authorising:  # the time limit counts from here: a server that takes one after the other needs it
            if self._token_refused and account.token is not None:
                await tokens.reject(account.token)
            self._token_refused = False
            is_first = account.state is AccountState.UNKNOWN
            self._enter(AccountState.AUTHORIZING)
            account.token = await authorise(line._connected(), account, tokens, line.config)
        if is_first:
            line.done("account_auth", self._started, account)
        self._enter(AccountState.AUTHORIZED)

    def _pause(self, error: Error) -> float | None:
        """How long to wait after this refusal; None where only news (a newer token, a new connection) can help."""
        verdict = error.verdict
        pause = self._backoff.failed(self._line._clock.monotonic())
        if self.account.state is AccountState.AUTHORIZED:
            self._unrestored += 1
            what = f"the subscriptions of account {self.account.id}"
            self._emit(NotRestored(source=self._line.name, what=what, cause=one_line(error), failures=self._unrestored))
        if verdict.action in (Action.FATAL, Action.REAUTHORIZE):
            return None
        return pause + (verdict.after or 0.0)

    def _enter(self, state: AccountState, cause: Exception | None = None) -> None:
        self.account.enter(state, cause)
        if state is AccountState.AUTHORIZED:
            self.gate.set()
        else:
            self.gate.clear()
        self.tell()

    def tell(self) -> None:
        """Tell the hooks how the account stands, if they do not know."""
        before, state = self._told, self.account.state
        if state is before:
            return
        self._told = state
        now = self._line._clock.monotonic()
        source, account_id, out_since = self._line.name, self.account.id, self._out_since
        begins_outage = state is AccountState.SUSPENDED and out_since is None
        if begins_outage:
            self._out_since = now
        self._emit(
            AccountChanged(
                source=source,
                account_id=account_id,
                before=before.value,
                after=state.value,
                cause=one_line(self.account.cause if state is not AccountState.AUTHORIZING else None),
                begins_outage=begins_outage,
            )
        )
        if state is AccountState.AUTHORIZED and out_since is not None:
            self._out_since = None
            self._emit(Recovered(source=source, seconds=now - out_since, account_id=account_id))

    def _emit(self, record: Record) -> None:
        self._line._services.hooks.emit(record)
