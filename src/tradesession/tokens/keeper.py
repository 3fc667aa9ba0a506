"""TokenKeeper: hands out the token of one slot, and renews it once for everybody who asks.

May use asyncio; the store and the exchange are given to it, and stay its giver's to close. What always holds: one exchange at a time in
this process, and one among all that share the store; no caller's cancellation reaches an exchange; a pair that was obtained is used,
saved and announced whoever still waits for it; and the way to a fresh token waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random as _random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, ReauthorizationRequired, SessionClosed, StoreError, TokenError
from tradesession.exporters.log import logged
from tradesession.hooks import Hook, Hooks, RenewalFailed, TokenLoaded, TokenRotated, one_line
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK, deadline, sleep
from tradesession.tokens.changes import Announcer, TokenChanges
from tradesession.tokens.exchange import Exchange
from tradesession.tokens.inuse import Failures, TokenInUse
from tradesession.tokens.renewal import DEFAULT_POLICY, NEVER, Need, RenewalPolicy, save_pause
from tradesession.tokens.rotation import Context, Outcome, Rotation, restore, save
from tradesession.tokens.store import GrantStatus, StoredGrant, TokenStore
from tradesession.tokens.token import Slot, Token, TokenState
from tradesession.verdict import Action, Level, Verdict

_log = logging.getLogger("tradesession.tokens.keeper")


@dataclass(eq=False, slots=True)
class _Flight:
    """A renewal under way, which everybody joins."""

    rotation: Rotation
    task: asyncio.Task[None]


class TokenKeeper:
    """The keeper of one slot. Make one for each slot in a process, share it, and `aclose` it; `async with` does.

    `exchange` is how a token is had or renewed. `seed` is a token from the configuration: it is brought into the store when that has
    none, or when its grant leads no further. `random` gives numbers in [0, 1), for jitter. `name` is what logs and records call it.
    Without Hooks to share, its own have a LogExporter among them.
    """

    def __init__(
        self,
        slot: Slot,
        store: TokenStore,
        exchange: Exchange,
        *,
        seed: Token | None = None,
        clock: Clock = SYSTEM_CLOCK,
        hooks: Iterable[Hook] | Hooks | None = None,
        random: Callable[[], float] = _random.random,
        numbers: RenewalPolicy = DEFAULT_POLICY,
        name: str = "",
    ) -> None:
        self.slot = slot
        self.name = name or f"token {slot}"
        self.exchanges = 0
        """How many tokens this keeper has obtained by an exchange of its own."""
        self._context = Context(slot=slot, store=store, exchange=exchange, clock=clock, random=random, numbers=numbers, seed=seed)
        self._store = store
        self._clock = clock
        self._random = random
        self._hooks = logged(hooks)
        self._in_use = TokenInUse()
        self._failures = Failures()
        self._announcer = Announcer()
        self._tasks = TaskOwner()
        self._background = TaskOwner()
        self._flight: _Flight | None = None
        self._saver: asyncio.Task[None] | None = None
        self._unsaved: Token | None = None
        self._revision = 0
        self._rescheduled = asyncio.Event()
        self._is_started = False
        self._is_closed = False

    # --- asking ------------------------------------------------------------------------------------------------------------------

    async def get(self, min_ttl: float | None = None) -> Token:
        """A token that is good now, and for `min_ttl` seconds if its kind lives that long.

        Returns at once as long as the token in use will do. Raises ReauthorizationRequired, UncertainExchange, TokenRefused,
        TokenEndpointUnreachable or StoreError when it will not and cannot be renewed; SessionClosed after `aclose`.
        """
        now = self._clock.monotonic()
        used = self._in_use
        if (
            now < used.serve_until
            and -policy.CLOCK_JUMP < self._clock.wall() - now - used.offset < policy.CLOCK_JUMP
            and (min_ttl is None or now + min_ttl <= used.ends_at)
            and used.token is not None
        ):
            return used.token
        return await self._obtain(Need(min_ttl=min_ttl or 0.0))

    async def reject(self, token: Token) -> None:
        """A server refused this token: the next `get` gives another one, or raises.

        However many report the same one, it is renewed once; when the token in use is another one already, nothing happens.
        """
        if self._is_closed or not self._in_use.refuse(token, self._clock.monotonic()):
            return
        _log.info("%s: a server refused generation %d", self.name, token.generation)
        self._start()
        self._rescheduled.set()  # a refused token is due

    async def renew(self) -> Token:
        """Another token than the one in use, whatever its age and however the grant stands: a person asked."""
        token = self._in_use.token
        return await self._obtain(Need(unlike=token.access if token is not None else None, later=token is None, anyway=True))

    def changes(self, shared: TokenChanges | None = None) -> TokenChanges:
        """An async iterator over the tokens that come from now on, here or in another process that shares the store.

        `shared` is another keeper's: it tells of the tokens of both then, and ends with either.
        """
        self._start()
        return self._announcer.subscribe(shared)

    def peek(self) -> Token | None:
        """The token in use, whatever its state. Asks nobody."""
        return self._in_use.token

    @property
    def state(self) -> TokenState:
        """What the token in use is worth now; a refused one is EXPIRED."""
        return self._in_use.state(self._clock.monotonic())

    @property
    def is_saved(self) -> bool:
        """Whether the store has the token in use."""
        return self._unsaved is None

    # --- renewing ----------------------------------------------------------------------------------------------------------------

    async def _obtain(self, need: Need) -> Token:
        while True:
            self._check_open()
            self._notice_jump()
            now = self._clock.monotonic()
            if (token := self._in_use.suits(need, now)) is not None:
                return token
            if self._flight is None and not need.anyway and (standing := self._failures.standing(now)) is not None:
                return self._despite(standing, need)
            flight = self._flight or self._launch(need)
            await asyncio.wait([flight.task])
            if flight.task.cancelled():
                self._check_open()
                raise TokenError(f"the renewal of {self.slot} was cancelled from outside; ask again")
            if (error := flight.task.exception()) is not None:
                return self._despite(error, need)
            if (
                flight.rotation.need.covers(need)
                and (token := self._in_use.lasts(replace(need, min_ttl=0.0, later=False), now)) is not None
            ):
                return token

    def _despite(self, error: BaseException, need: Need) -> Token:
        """The token in use, as long as it is good for the need at all; else the error why it could not be renewed."""
        token = self._in_use.lasts(need, self._clock.monotonic())
        if token is None or not isinstance(error, (TokenError, StoreError)):
            raise error.with_traceback(None)  # many callers raise the same one
        return token

    def _launch(self, need: Need) -> _Flight:
        """Begin a renewal for everybody. It is the keeper's, so no caller can end it."""
        self._start()
        used = self._in_use
        need = replace(need, unlike=need.unlike or used.refused)
        rotation = Rotation(
            self._context,
            need,
            used.token,
            used.life,
            not_before=used.exchange_not_before() if used.refused is not None and not need.anyway else -NEVER,
            barred=self._failures.barred,
        )
        task = self._tasks.spawn(self._fly(rotation), name=f"renewal of {self.slot}")
        task.add_done_callback(_take_note)
        self._flight = _Flight(rotation, task)
        return self._flight

    async def _fly(self, rotation: Rotation) -> None:
        try:
            outcome = await rotation.run()
            if outcome.exchanged:
                self.exchanges += 1
                self._in_use.note_exchange(self._clock.monotonic(), outcome.life)
            self._use(outcome)
            self._check_alive(outcome)
        except Exception as error:
            self._failures.add(error, self._in_use, self._clock.monotonic(), self._random())
            self._hooks.emit(RenewalFailed(source=self.name, cause=one_line(error), needs_person=self._failures.needs_person))
            raise
        finally:
            self._flight = None
            self._rescheduled.set()

    def _check_alive(self, outcome: Outcome) -> None:
        """A token that has expired on arrival is kept for its refresh token, and a failure: the next one would be no better at once."""
        if outcome.life.ends_at <= self._clock.monotonic():
            error = TokenError(
                f"the token endpoint gave {self.slot} a token that has expired already (expires_at {outcome.token.expires_at}): "
                "look at the endpoint's expiry and at this machine's clock"
            )
            error.verdict = Verdict(Action.RETRY_AFTER, Level.TOKEN, after=policy.TOKEN_SPACING)
            raise error
        self._failures.clear()

    def _use(self, outcome: Outcome) -> None:
        """Hand this token out from now on, and tell everybody, unless it is the one in use already."""
        self._revision = max(self._revision, outcome.revision)
        is_first = self._in_use.token is None and not outcome.exchanged
        if not self._in_use.adopt(outcome.token, outcome.life, self._clock.monotonic(), self._clock.wall()):
            return
        if self._is_closed:
            self._in_use.withhold()
        if not outcome.saved:
            self._unsaved = outcome.token
            self._saver = self._tasks.spawn(self._save(outcome.token), name=f"save of {self.slot}")
        self._rescheduled.set()
        self._announcer.tell(outcome.token)
        if is_first:
            self._hooks.emit(TokenLoaded(source=self.name, generation=outcome.token.generation, expires_at=outcome.token.expires_at))
        else:
            self._report(outcome.token, outcome.saved, outcome.problem)

    def _report(self, token: Token, saved: bool, problem: str = "") -> None:
        generation, expires_at = token.generation, token.expires_at
        self._hooks.emit(TokenRotated(source=self.name, generation=generation, expires_at=expires_at, saved=saved, cause=problem))

    def _notice_jump(self) -> None:
        jump = self._in_use.notice_jump(self._clock.monotonic(), self._clock.wall())
        if jump:
            kind = "suspended, or clock set forward: counted as time passed" if jump > 0 else "clock set back: changes nothing"
            _log.info("%s: the wall clock jumped by %+.0f s (%s)", self.name, jump, kind)
            self._rescheduled.set()

    # --- in the background -----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._is_started and not self._is_closed:
            self._is_started = True
            self._background.spawn(self._renew_in_time(), name=f"timer of {self.slot}")
            self._background.spawn(self._watch_store(), name=f"watch of {self.slot}")

    async def _renew_in_time(self) -> None:
        """Renew when it is due, and look at both clocks now and then."""
        while True:
            self._notice_jump()
            self._rescheduled.clear()
            now = self._clock.monotonic()
            due = NEVER if self._failures.needs_person else max(self._in_use.due(), self._failures.until)
            if self._flight is None and now >= due and (token := self._in_use.token) is not None:
                self._launch(Need(unlike=token.access, not_due=True))
            seconds = due - now if self._flight is None else NEVER
            if -NEVER < self._in_use.ends_at < NEVER:  # only then a jump of the clock matters
                seconds = min(seconds, policy.CLOCK_CHECK)
            try:
                async with deadline(self._clock, seconds if seconds < NEVER else None):
                    await self._rescheduled.wait()
            except TimeoutError:
                continue

    async def _watch_store(self) -> None:
        """Hear of what others do with the slot, and give the store back what it has lost."""
        failures = 0
        while True:
            try:
                await self._store.wait_for_change(self.slot, self._revision)
                is_renewing = self._flight is not None
                grant = await self._store.load(self.slot)
                if not is_renewing and await self._give_back(grant):
                    continue
            except (StoreError, ConfigurationError) as error:  # an address that cannot be read shows with the first call
                failures += 1
                _log.debug("%s: the store cannot be watched: %s", self.name, error)
                await sleep(self._clock, save_pause(failures, self._random()))
                continue
            failures = 0
            self._hear(grant)

    async def _give_back(self, grant: StoredGrant | None) -> bool:
        """Help a store that forgot the token in use over it: at once, as this process may be the only one that has it.

        Not during a renewal, which does so itself before it notes its intent.
        """
        token = self._in_use.token
        if token is None or self._flight is not None or not self.is_saved:
            return False
        try:
            return await restore(self._context, token, grant)
        except ReauthorizationRequired:  # a person removed it
            return False

    def _hear(self, grant: StoredGrant | None) -> None:
        """Take over a newer token that the store has."""
        self._revision = grant.revision if grant is not None else 0
        if grant is None:
            return
        if self._in_use.is_news(grant.token):
            life = self._context.life(grant.token, grant.age)
            self._failures.clear()
            self._use(Outcome(token=grant.token, life=life, revision=grant.revision))
        elif grant.status is GrantStatus.DEAD and not self._failures.needs_person and self._flight is None:
            _log.warning("%s: another process found the grant dead: %s", self.name, grant.cause)

    async def _save(self, token: Token) -> None:
        """Save a pair that is in use and not saved, for as long as it takes."""
        failures = 0
        while not await self._try_to_save(token):
            failures += 1
            await sleep(self._clock, save_pause(failures, self._random()))

    async def _try_to_save(self, token: Token) -> bool:
        try:
            stored = await save(self._context, token)
        except StoreError as error:
            _log.debug("%s: still not saved: %s", self.name, error)
            return False
        except ReauthorizationRequired as error:
            _log.error("%s: %s", self.name, error)
            self._settle_save(token)
            return True
        self._settle_save(token)
        if stored is not None:
            self._hear(stored)
        elif token is self._in_use.token:
            self._report(token, saved=True)
        return True

    def _settle_save(self, token: Token) -> None:
        """Nothing is left to do for this pair; a later one may still be waiting for its own save."""
        if self._unsaved is token:
            self._unsaved = None

    # --- closing -------------------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise SessionClosed(f"the token keeper of {self.slot} is closed; make another one")

    async def aclose(self) -> None:
        """Stop. An exchange that was begun is waited for and its pair saved; everything else is dropped. Harmless when closed already.

        To cancel the closing ends the waiting alone: what was begun goes on, and nothing new begins. Raises StoreError when a pair could
        not be saved within `policy.SAVE_ON_CLOSE_LIMIT`; `peek` still has it.
        """
        self._is_closed = True
        self._in_use.withhold()
        if self._flight is not None and not self._flight.rotation.is_committed:
            self._flight.task.cancel()
        await self._background.aclose()
        await self.settled()
        if self._saver is not None:
            try:
                async with deadline(self._clock, policy.SAVE_ON_CLOSE_LIMIT):
                    await asyncio.wait([self._saver])
            except TimeoutError:
                pass
        await self._tasks.aclose()
        self._announcer.close()
        if self._unsaved is not None:
            raise StoreError(
                f"generation {self._unsaved.generation} of {self.slot} was not saved before closing, and the pair in the store is spent: "
                "take the new one from peek() and put it into the store when that is back"
            )

    async def settled(self) -> None:
        """Wait until no renewal is under way: what it needs must not be closed before."""
        if self._flight is not None:
            await asyncio.wait([self._flight.task])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


def _take_note(task: asyncio.Task[None]) -> None:
    """Look at a failure that perhaps nobody waits for any more; it was logged."""
    if not task.cancelled():
        task.exception()
