"""Rotation: one run through the steps that renew a token, from the lease to the saved successor.

May use asyncio; touches the store and the exchange, and decides nothing itself: `renewal.plan` does. What always holds: an exchange is
begun only under a lease, after the store was read again and the intent was noted durably; a new pair leaves this module whatever
became of its save; and from the moment `is_committed` is true, a run must be left to end by itself.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import (
    Conflict,
    ReauthorizationRequired,
    StoreError,
    StoreUnreachable,
    TokenEndpointUnreachable,
    TokenError,
    UncertainExchange,
)
from tradesession.hooks import one_line
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline, sleep
from tradesession.tokens.exchange import Exchange
from tradesession.tokens.holder import describe
from tradesession.tokens.renewal import (
    NEVER,
    Adopt,
    ExchangeNow,
    Life,
    Need,
    Plan,
    Refuse,
    RenewalPolicy,
    Sight,
    Watch,
    doubt_pause,
    plan,
    retry_pause,
)
from tradesession.tokens.store import GrantStatus, Lease, StoredGrant, TokenStore
from tradesession.tokens.token import Slot, Token
from tradesession.verdict import Action, Level, Verdict

_log = logging.getLogger("tradesession.tokens.keeper")

_CONSENT: Final = "give consent again (`tradesession login`)"
_SPENT: Final = f"the refresh token may be spent: if it is, {_CONSENT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a keeper lends to its rotations."""

    slot: Slot
    store: TokenStore
    exchange: Exchange
    clock: Clock
    random: Callable[[], float]
    numbers: RenewalPolicy
    seed: Token | None

    def life(self, token: Token, age: float | None = None) -> Life:
        """The life of a token that is this old."""
        return Life.of(token, now=self.clock.monotonic(), wall=self.clock.wall(), age=age, chance=self.random())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A token that is good now.

    `saved` is False when the store does not have it yet, and `problem` says why; `exchanged` is True when this run obtained it.
    """

    token: Token
    life: Life
    revision: int = -1
    saved: bool = True
    problem: str = ""
    exchanged: bool = False


async def save(context: Context, token: Token) -> StoredGrant | None:
    """Bring a token into the store that may have an older generation, or, when it lost its data, none.

    Gives back what is stored instead when that is newer. Raises StoreError; ReauthorizationRequired when a person removed the slot.
    """
    slot, store = context.slot, context.store
    expected = token.generation - 1
    while True:
        try:
            await store.commit(slot, token, expected)
            return None
        except Conflict:
            stored = await store.load(slot)
        if stored is not None and stored.generation >= token.generation:
            _log.warning("%s: generation %d was not saved, the store has %d already", slot, token.generation, stored.generation)
            return stored
        if stored is None and expected == 0:
            raise ReauthorizationRequired(f"the token of {slot} was removed from the store: {_CONSENT}")
        expected = 0 if stored is None else stored.generation


async def restore(context: Context, held: Token, grant: StoredGrant | None) -> bool:
    """Help a store that forgot what it was told (`grant` is what it has) over it; False when it has forgotten nothing.

    The token in memory is saved again, unless a person has given consent meanwhile: that one gets the next generation then. Raises as
    `save` does.
    """
    if grant is not None and grant.generation >= held.generation:
        return False
    later = grant is not None and (grant.token.issued_at or 0.0) > (held.issued_at or math.inf)
    if grant is not None and later:
        with contextlib.suppress(Conflict):
            await context.store.commit(context.slot, replace(grant.token, generation=held.generation + 1), grant.generation)
    else:
        await save(context, held)
    _log.warning("%s: the store had lost generation %d; what this process knows was written again", context.slot, held.generation)
    return True


class Rotation:
    """One run for one need. `held` is the token in memory with its life, `not_before` the earliest time for an exchange.

    `barred` is a generation that is known to be dead although the store could not be told.
    """

    def __init__(
        self,
        context: Context,
        need: Need,
        held: Token | None,
        life: Life,
        *,
        not_before: float = -NEVER,
        barred: tuple[int, TokenError] | None = None,
    ) -> None:
        self.need = need
        self.is_committed = False
        self._context = context
        self._slot = context.slot
        self._store = context.store
        self._clock = context.clock
        self._held = held
        self._held_life = life
        self._newer_than = held.generation if held is not None else -1
        self._not_before = not_before
        self._barred = barred
        self._watched: tuple[int, float] | None = None

    async def run(self) -> Outcome:
        """The token. Raises the errors of an Exchange, and StoreError when the store failed before anything was sent."""
        limit = policy.LEASE_WAIT_EXCHANGES * self._context.numbers.exchange_limit
        give_up_at = self._clock.monotonic() + limit
        grant = await self._read()
        if self._newer_than < 0:
            self._newer_than = grant.generation if grant is not None else 0
        while True:
            step = self._plan(grant)
            if isinstance(step, Adopt):
                return Outcome(token=step.grant.token, life=self._life(step.grant), revision=step.grant.revision)
            if isinstance(step, Refuse):
                raise _refused(step)
            if isinstance(step, Watch):
                pause = step.seconds
            elif (pause := self._not_before - self._clock.monotonic()) <= 0:
                if (outcome := await self._under_lease()) is not None:
                    return outcome
                if self._clock.monotonic() > give_up_at:
                    raise StoreUnreachable(f"the lease of {self._slot} was not to be had for {limit:g} s: look which process holds it")
                pause = policy.STORE_POLL_URGENT
            await self._news(grant, pause)
            grant = await self._read()

    async def _under_lease(self) -> Outcome | None:
        """Take the lease, read again, exchange if that is still the thing to do; None when it is not, or the lease was not to be had."""
        lease = await self._store.lease(self._slot)
        if lease is None:
            return None
        async with lease:
            step = self._plan(await self._read())
            if not isinstance(step, ExchangeNow):
                return None
            self.is_committed = True
            tasks = TaskOwner()
            tasks.spawn(self._hold(lease), name=f"lease of {self._slot}")
            try:
                return await self._renew(lease, step)
            except Conflict as conflict:  # from the intent: the lease has ended, and nothing was sent under it
                _log.info("%s: not exchanged: %s", self._slot, conflict)
                self.is_committed = False
                return None
            finally:
                await tasks.aclose()

    # --- reading and planning ------------------------------------------------------------------------------------------------------

    async def _read(self) -> StoredGrant | None:
        """What the store has, after giving it what it lacks: a token that it lost, or the seed of the configuration."""
        grant = await self._store.load(self._slot)
        held, seed = self._held, self._context.seed
        if held is not None and await restore(self._context, held, grant):
            return await self._store.load(self._slot)
        if seed is None or (grant is not None and not _is_superseded(grant, seed)):
            return grant
        with contextlib.suppress(Conflict):  # somebody else brought in a newer one
            await self._store.put(self._slot, seed)
        return await self._store.load(self._slot)

    def _life(self, grant: StoredGrant) -> Life:
        if self._held is not None and grant.generation == self._held.generation and grant.token.access == self._held.access:
            return self._held_life  # which knows of jumps of the clock, and keeps its jitter
        return self._context.life(grant.token, grant.age)

    def _plan(self, grant: StoredGrant | None) -> Plan:
        if grant is None:
            return ExchangeNow(None)
        now = self._clock.monotonic()
        if self._watched is None or self._watched[0] != grant.revision:
            self._watched = (grant.revision, now)
        sight = Sight(
            now=now,
            life=self._life(grant),
            newer_than=self._newer_than,
            is_holder_gone=grant.status is GrantStatus.EXCHANGING and self._store.is_surely_gone(grant.by),
            watched=now - self._watched[1],
        )
        step = plan(grant, self.need, sight, self._context.numbers)
        if isinstance(step, ExchangeNow) and self._barred is not None and self._barred[0] == grant.generation and not self.need.anyway:
            raise self._barred[1].with_traceback(None)
        return step

    async def _news(self, grant: StoredGrant | None, seconds: float) -> None:
        revision = grant.revision if grant is not None else 0
        try:
            async with deadline(self._clock, seconds):
                await self._store.wait_for_change(self._slot, revision, poll=policy.STORE_POLL_URGENT)
        except TimeoutError:
            return

    # --- exchanging ------------------------------------------------------------------------------------------------------------------

    async def _renew(self, lease: Lease, step: ExchangeNow) -> Outcome:
        """Note the intent, exchange, save. Repeats only after an exchange without a usable answer, as often as its error allows.

        A failure that spends nothing is no showing of a refresh token, and counts for itself.
        """
        old = step.grant.token if step.grant is not None else None
        attempt = step.attempt
        unanswered: TokenError | None = None
        failed = 0
        while True:
            if old is not None and old.refresh:  # else nothing can be spent
                await self._store.note_intent(lease, old.generation, attempt)
            sent_at = self._clock.monotonic()
            try:
                new = await self._exchange(old)
            except UncertainExchange as error:
                if attempt >= error.tries or not self._context.numbers.repeat_unanswered:
                    raise await self._settled(old, error, attempt) from error
                _log.warning("%s: an exchange got no usable answer and is repeated: %s", self._slot, error)
                unanswered = error
                attempt += 1
                await sleep(self._clock, retry_pause(1, 0.0, self._context.random()))
                continue
            except TokenError as error:
                failed += 1
                if isinstance(error, TokenEndpointUnreachable) and error.retry_after is None and failed < error.tries:
                    _log.warning("%s: the token endpoint is asked again: %s", self._slot, error)
                    await sleep(self._clock, retry_pause(1, 0.0, self._context.random()))
                    continue
                settled = await self._settled(old, error, attempt, unanswered)
                if settled is error:
                    raise  # with what it was caused by
                raise settled from error
            token = old.successor(new) if old is not None else replace(new, generation=1)
            return await self._saved(lease, token, sent_at)

    async def _exchange(self, old: Token | None) -> Token:
        """One exchange, with a time limit; whatever is not in the contract of an Exchange leaves its outcome unknown."""
        limit = self._context.numbers.exchange_limit
        try:
            async with deadline(self._clock, limit):
                return await self._context.exchange(old)
        except TokenError:
            raise
        except TimeoutError as error:
            raise UncertainExchange(f"the exchange for {self._slot} was not answered within {limit:g} s; {_SPENT}") from error
        except Exception as error:
            kind = type(error).__name__
            raise UncertainExchange(f"the exchange for {self._slot} failed with {kind} and may have been sent; {_SPENT}") from error

    async def _hold(self, lease: Lease) -> None:
        while True:
            await sleep(self._clock, policy.LEASE_TTL / 3)
            try:
                await lease.extend(policy.LEASE_TTL)
            except StoreError as error:
                _log.warning("%s: the lease could not be extended during an exchange: %s", self._slot, error)

    async def _saved(self, lease: Lease, token: Token, sent_at: float) -> Outcome:
        """The outcome of an exchange, which is a token in use whether or not it can be saved now."""
        passed = self._clock.monotonic() - sent_at
        outcome = Outcome(token=token, life=self._context.life(token, passed), exchanged=True)
        try:
            try:
                await self._store.commit(self._slot, token, token.generation - 1, lease)
                return outcome
            except Conflict:
                stored = await save(self._context, token)
        except StoreError as error:
            return replace(outcome, saved=False, problem=one_line(error))
        return outcome if stored is None else Outcome(token=stored.token, life=self._life(stored), revision=stored.revision)

    async def _settled(self, old: Token | None, error: TokenError, attempt: int, unanswered: TokenError | None = None) -> TokenError:
        """Write down what a failed exchange means for the grant; the error to raise."""
        status, sent, error = _meaning(error, attempt, unanswered, self._context.numbers)
        if old is None or (not old.refresh and status is not GrantStatus.DEAD):
            return error
        try:
            await self._store.mark(self._slot, old.generation, status, "" if status is GrantStatus.USABLE else str(error), sent)
        except Conflict:
            _log.info("%s: generation %d failed, and somebody else has a newer one", self._slot, old.generation)
        except StoreError as problem:
            _log.warning("%s: that generation %d is %s could not be saved: %s", self._slot, old.generation, status.value, problem)
        return error


def _meaning(error: TokenError, attempt: int, unanswered: TokenError | None, numbers: RenewalPolicy) -> tuple[GrantStatus, int, TokenError]:
    """What the last error says of the grant, in the light of earlier attempts without an answer; how many were sent; what to raise."""
    earlier = attempt - 1
    if isinstance(error, UncertainExchange):
        return GrantStatus.UNCERTAIN, attempt, _in_doubt(str(error), doubt_pause(attempt) if numbers.repeat_unanswered else NEVER)
    if isinstance(error, ReauthorizationRequired):
        if earlier:
            hint = "an exchange of this refresh token before got no answer, and has most likely spent it"
            error = ReauthorizationRequired(f"{error}; {hint}")
        return GrantStatus.DEAD, attempt, error
    if not earlier:
        return GrantStatus.USABLE, 0, error
    if unanswered is not None and isinstance(error, TokenEndpointUnreachable):
        error = UncertainExchange(f"{unanswered}; repeating it failed: {error}")
    return GrantStatus.UNCERTAIN, earlier, error


def _refused(step: Refuse) -> TokenError:
    """The error for a grant that leads no further now."""
    grant = step.grant
    if step.status is GrantStatus.DEAD:
        return ReauthorizationRequired(grant.cause or f"the grant is dead: {_CONSENT}")
    cause = grant.cause or f"an exchange begun by {describe(grant.by)} {grant.since:.0f} s ago got no answer; {_SPENT}"
    if step.seconds == NEVER:
        return _in_doubt(f"{cause}; it is not tried again", NEVER)
    return _in_doubt(f"{cause}; it is tried again in {step.seconds:.0f} s", step.seconds)


def _in_doubt(message: str, pause: float) -> UncertainExchange:
    """An uncertain outcome, with the pause that the judge shall keep; without an end, a person is needed."""
    error = UncertainExchange(message)
    if pause == NEVER:
        error.verdict = Verdict(Action.REAUTHORIZE, Level.TOKEN)
    else:
        error.verdict = Verdict(Action.RETRY_AFTER, Level.TOKEN, after=pause)
    return error


def _is_superseded(grant: StoredGrant, seed: Token) -> bool:
    """Whether the configuration has something newer than a grant that leads no further."""
    return grant.status in (GrantStatus.DEAD, GrantStatus.UNCERTAIN) and not grant.descends_from(seed)
