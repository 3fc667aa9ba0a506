"""AccountWatch: keeps one account authorised on whatever connection there is.

Each account in its own time: one that is dropped, refused or in maintenance is tried again with a backoff of its own and never delays
another. May wait, and moves no bytes itself. Always holds: while the account is not authorised its gate is closed; of every time in which
its events did not come, its streams are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tradesession.clock import Clock
from tradesession.ctrader.accounts import Account, AccountState
from tradesession.errors import Error
from tradesession.hooks import AccountChanged, NotRestored, Recovered, one_line
from tradesession.protocol.backoff import Backoff
from tradesession.session.services import Services
from tradesession.session.streams import Gap
from tradesession.timing import deadline
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level


class AccountWatch:
    """The watch over one account. `source` is the line's name.

    `authorise` gives the token that the account is authorised with, and is told whether it is the first attempt on this connection;
    `restore` brings the subscriptions back. Either raises what prevented it. `on_gap` is told when the account missed events although the
    connection stood, before anything can come for it again; `on_suspended` is told after each attempt that failed.
    """

    def __init__(
        self,
        account: Account,
        *,
        source: str,
        clock: Clock,
        services: Services,
        backoff: Backoff,
        authorise: Callable[[Account, bool], Awaitable[Token]],
        restore: Callable[[Account], Awaitable[None]],
        on_gap: Callable[[Account, Gap], None],
        on_suspended: Callable[[], None],
    ) -> None:
        self.account = account
        self.gate = asyncio.Event()
        """Set while requests of the account may pass."""
        self.tried = asyncio.Event()
        """Set when the first attempt to authorise it has ended, either way."""
        self.restored = asyncio.Event()
        """Set when its subscriptions are back, or it has none to bring back now."""
        self._source = source
        self._clock = clock
        self._tokens = services.tokens
        self._hooks = services.hooks
        self._backoff = backoff
        self._authorise_account = authorise
        self._restore_account = restore
        self._on_gap = on_gap
        self._on_suspended = on_suspended
        self._news = asyncio.Event()
        self._is_restored = False  # whether its subscriptions stand since it was authorised last
        self._is_answered = False  # whether the authorisation that is under way was granted, of which its task has yet to hear
        self._restoring: asyncio.Timeout | None = None  # around the restoring that is under way
        self._undone_by: Error | None = None  # why what is under way is worth nothing any more
        self._token_refused = False
        self._told = account.state
        self._unrestored = 0  # attempts in a row after which subscriptions were missing
        self._out_since: float | None = None  # since when it has been suspended, or was and is not authorised yet
        self._connected_at = 0.0  # wall clock
        self._missing_since: float | None = None  # wall clock: since when its events have not come over a connection that stands
        self._is_gap_told = False

    def begin(self) -> None:
        """There is a new connection."""
        self._connected_at = self._clock.wall()
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
            was_authorised = self.account.state is AccountState.AUTHORIZED
            await self._wait(pause)
            if was_authorised and self.account.state is AccountState.SUSPENDED:
                await self._bide()

    def answered(self) -> None:
        """The server has authorised the account. Told in wire order, so that what it says next is known to be newer."""
        self._is_answered = True

    def dropped(self, cause: Error, *, token_refused: bool) -> None:
        """The server ended the account's session, or refuses its requests as if it had."""
        state = self.account.state
        if state is AccountState.AUTHORIZING and self._is_answered:
            self._undone_by = cause
        elif state is AccountState.AUTHORIZED:
            self._begin_to_miss()
            self._enter(AccountState.SUSPENDED, cause)
            if self._restoring is not None:
                self._undone_by = cause
                self._restoring.reschedule(asyncio.get_running_loop().time())
            else:
                self._news.set()
        elif state is not AccountState.SUSPENDED:
            return  # the answer to what is under way will tell
        self._token_refused = self._token_refused or token_refused

    def token_changed(self) -> None:
        """There is a newer token than the one that the account stood on, when it was looked at."""
        self._news.set()

    def connection_ended(self, cause: Exception | None) -> None:
        """The account stands nowhere now."""
        self.tried.set()
        self.restored.set()
        self._tell_gap()
        self._missing_since = None  # from here on it is the connection's gap
        self._is_gap_told = False
        self._enter(AccountState.UNKNOWN, cause or self.account.cause)

    def tell(self) -> None:
        """Tell the hooks how the account stands, if they do not know."""
        before, state = self._told, self.account.state
        if state is before:
            return
        self._told = state
        now = self._clock.monotonic()
        source, account_id, out_since = self._source, self.account.id, self._out_since
        begins_outage = state is AccountState.SUSPENDED and out_since is None
        if begins_outage:
            self._out_since = now
        self._hooks.emit(
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
            self._hooks.emit(Recovered(source=source, seconds=now - out_since, account_id=account_id))

    # --- inside -------------------------------------------------------------------------------------------------------------------

    async def _wait(self, seconds: float | None) -> None:
        """Wait so long, or for news; None is for news alone."""
        try:
            async with deadline(self._clock, seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _bide(self) -> None:
        """Before an attempt after a drop: the first one comes at once, and a server that drops again and again is not hammered."""
        if self._stands_on_an_older_token():
            return  # our own rotation
        pause = self._backoff.failed(self._clock.monotonic())
        if self._backoff.failures > 1:
            self._news.clear()
            await self._wait(pause)

    async def _attempt(self) -> float | None:
        """Bring the account up as far as it goes; the seconds until the next attempt, None for when there is news."""
        try:
            if self.account.state is not AccountState.AUTHORIZED or self._stands_on_an_older_token():
                self._is_restored = False
                await self._authorise()
                self.tried.set()
            if not self._is_restored:
                await self._restore()
                self._is_restored = True
        except Error as error:
            if self.account.state is not AccountState.AUTHORIZED:
                if self._missing_since is None:  # never authorised on this connection, whose own gap reaches to its beginning
                    self._missing_since, self._is_gap_told = self._connected_at, True
                self._enter(AccountState.SUSPENDED, error)
                self._on_suspended()
            return self._pause(error)
        self._unrestored = 0
        self._backoff.ready(self._clock.monotonic())
        return None

    def _stands_on_an_older_token(self) -> bool:
        """Asked when it matters: the news of a rotation may come after the account was authorised with the new token already."""
        held, current = self.account.token, self._tokens.peek()
        return held is not None and current is not None and held.generation < current.generation

    async def _authorise(self) -> None:
        account = self.account
        if self._token_refused and account.token is not None:
            await self._tokens.reject(account.token)
        self._token_refused = False
        is_first = account.state is AccountState.UNKNOWN
        self._begin_to_miss()  # authorised with an older token: what the server sent since that was spent did not come
        is_another_try = self._is_gap_told
        if not is_another_try:
            self._tell_gap()  # before the attempt, as an event may come together with its success
        self._is_answered, self._undone_by = False, None
        self._enter(AccountState.AUTHORIZING)
        account.token = await self._authorise_account(account, is_first)
        if self._undone_by is not None:
            raise self._undone_by
        if is_another_try:
            self._tell_gap()
        self._missing_since = None
        self._enter(AccountState.AUTHORIZED)

    async def _restore(self) -> None:
        """Raises why the account was dropped meanwhile, if it was: requests about it wait for it to be back, and these would for ever."""
        self._undone_by = None
        try:
            async with asyncio.timeout(None) as self._restoring:
                await self._restore_account(self.account)
        except TimeoutError:
            if self._undone_by is None:
                raise  # a deadline of the restoring's own
        finally:
            self._restoring = None
        if self._undone_by is not None:
            raise self._undone_by

    def _begin_to_miss(self) -> None:
        if self.account.state is AccountState.AUTHORIZED:
            self._missing_since = self._clock.wall()
            self._is_gap_told = False

    def _tell_gap(self) -> None:
        if self._missing_since is not None:
            gap = Gap("the account's session was interrupted", since=self._missing_since, until=self._clock.wall())
            self._on_gap(self.account, gap)
            self._is_gap_told = True

    def _pause(self, error: Error) -> float | None:
        """How long to wait after this refusal; None where only news (a newer token, a new connection) can help."""
        verdict = error.verdict
        pause = self._backoff.failed(self._clock.monotonic())
        if self.account.state is AccountState.AUTHORIZED:
            self._unrestored += 1
            what = f"the subscriptions of account {self.account.id}"
            self._hooks.emit(NotRestored(source=self._source, what=what, cause=one_line(error), failures=self._unrestored))
        if needs_news(error):
            return None
        return pause + (verdict.after or 0.0)

    def _enter(self, state: AccountState, cause: Exception | None = None) -> None:
        self.account.enter(state, cause)
        if state is AccountState.AUTHORIZED:
            self.gate.set()
        else:
            self.gate.clear()
        self.tell()


def needs_news(error: Error) -> bool:
    """Whether trying again can help only when something has changed: the token, or the connection."""
    verdict = error.verdict
    is_hopeless = verdict.action is Action.FATAL and verdict.level is not Level.REQUEST  # that is of this attempt, not of the account
    return is_hopeless or verdict.needs_human
