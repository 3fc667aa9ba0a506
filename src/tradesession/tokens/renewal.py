"""When a Token is to be renewed, and what a stored record means for whoever needs one: the decisions of the TokenKeeper.

Pure: times, chance and what the store holds are parameters; nothing here waits or asks. Times are monotonic seconds unless a name says
wall. What always holds: no plan shows a refresh token whose exchange may still be settled by somebody else, and none shows it again
after two exchanges without an answer before a growing pause is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from tradesession import policy
from tradesession.errors import Error, StoreError, TokenEndpointUnreachable, TokenRefused
from tradesession.secrets import Secret
from tradesession.tokens.stored import GrantStatus, StoredGrant
from tradesession.tokens.token import Token, TokenState

NEVER: Final = math.inf

_TICK: Final = 0.001  # times closer than this are the same: what rounding leaves of a pause must not be waited for again and again


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalPolicy:
    """What depends on the issuer; every other number of a keeper stands in `tradesession.policy`.

    `repeat_unanswered` says whether a refresh token is shown again after an exchange that got no answer. It is the only way to go on
    without a person, and harmless where a spent token is merely refused (as with cTrader); an issuer that takes a second showing for
    theft would revoke the grant. `exchange_limit` is how many seconds one exchange may take before its outcome counts as unknown.
    """

    repeat_unanswered: bool = True
    exchange_limit: float = policy.EXCHANGE_LIMIT


DEFAULT_POLICY: Final = RenewalPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The stages of a token's life: due for renewal from `renew_at`, callers wait for it from `mandatory_at`, over at `ends_at`.

    `length` is from issue to end. What never comes is infinite.
    """

    renew_at: float = NEVER
    mandatory_at: float = NEVER
    ends_at: float = NEVER
    length: float = NEVER

    @classmethod
    def of(
        cls,
        token: Token,
        *,
        now: float,
        wall: float,
        age: float | None = None,
        chance: float = 0.5,
    ) -> Life:
        """The life of a token that was issued `age` seconds ago; without `age` the wall clock tells.

        `chance` in [0, 1) places the renewal within its jitter.
        """
        if not token.access:
            return cls(renew_at=now, mandatory_at=now, ends_at=now, length=0.0)
        if token.expires_at is None:
            return cls()
        length = token.lifetime
        if length is None or length <= 0:
            left = token.expires_at - wall
            length = max(left, 0.0)
        elif age is None:
            left = min(length, token.expires_at - wall)
        else:
            left = length - age
        ends_at = now + left
        share = policy.TOKEN_RENEW_AT + (2 * chance - 1) * policy.TOKEN_RENEW_JITTER
        return cls(
            renew_at=ends_at - (1 - share) * length,
            mandatory_at=ends_at - min(policy.TOKEN_MANDATORY_SHARE * length, policy.TOKEN_MANDATORY_LIMIT),
            ends_at=ends_at,
            length=length,
        )

    def after_jump(self, seconds: float) -> Life:
        """The same life when that many seconds passed without the monotonic clock noticing (a suspended machine)."""
        return replace(self, renew_at=self.renew_at - seconds, mandatory_at=self.mandatory_at - seconds, ends_at=self.ends_at - seconds)

    def state(self, now: float) -> TokenState:
        """FRESH, STALE from when the renewal is due, EXPIRED."""
        if now >= self.ends_at:
            return TokenState.EXPIRED
        return TokenState.STALE if now >= self.renew_at else TokenState.FRESH


def spacing(length: float) -> float:
    """Least seconds between two renewals by choice of a token with this length of life."""
    return min(policy.TOKEN_SPACING, policy.TOKEN_SPACING_SHARE * length)


def retry_pause(failures: int, length: float, chance: float) -> float:
    """Seconds to wait after the `failures`-th failed renewal in a row: random up to a bound that doubles, so that keepers spread out."""
    limit = min(policy.TOKEN_RETRY_LIMIT, max(policy.TOKEN_RETRY_FIRST, length / 20))
    return _spread(policy.TOKEN_RETRY_FIRST, limit, failures, chance)


def pause_after(error: Exception, failures: int, length: float, chance: float) -> float:
    """Seconds to leave the endpoint or the store alone after the `failures`-th failed renewal in a row."""
    if isinstance(error, StoreError):
        return save_pause(failures, chance)
    if isinstance(error, Error) and error.verdict.after is not None:
        return error.verdict.after
    if isinstance(error, TokenRefused):
        return policy.TOKEN_REFUSED_PAUSE
    if isinstance(error, TokenEndpointUnreachable):
        if error.retry_after is not None:
            return error.retry_after
        if not error.verdict.is_retryable:
            return policy.TOKEN_REFUSED_PAUSE
    return retry_pause(failures, length, chance)


def save_pause(failures: int, chance: float) -> float:
    """Seconds to wait after the `failures`-th failed save in a row."""
    return _spread(policy.SAVE_RETRY_LIMIT / 10, policy.SAVE_RETRY_LIMIT, failures, chance)


def doubt_pause(attempts: int) -> float:
    """Seconds before a refresh token may be shown again after that many exchanges without an answer: none after the first."""
    return 0.0 if attempts < 2 else min(policy.TOKEN_DOUBT_LIMIT, policy.TOKEN_DOUBT_PAUSE * 2.0 ** min(attempts - 2, 30))


def refusal_pause(refusals: int, length: float) -> float:
    """Seconds from an exchange to the next one when servers refuse each new token as soon as it is there: none after the first."""
    return 0.0 if refusals < 2 else min(spacing(length), 2.0 ** min(refusals - 2, 30))


def _spread(first: float, limit: float, failures: int, chance: float) -> float:
    bound = min(limit, first * 2.0 ** min(max(failures, 1) - 1, 30))
    return bound * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What somebody needs of a token: so many seconds of life left, another one than the refused one, one that is not due yet.

    `later` asks for a later generation than the store has at first, whichever that is. `anyway` goes past DEAD and UNCERTAIN: a person
    asked.
    """

    min_ttl: float = 0.0
    unlike: Secret | None = None
    not_due: bool = False
    later: bool = False
    anyway: bool = False

    def is_met_by(self, token: Token, life: Life, now: float) -> bool:
        """Whether this token will do."""
        if token.access == self.unlike or now >= life.mandatory_at or now + self.min_ttl > life.ends_at:
            return False
        return not (self.not_due and now >= life.renew_at)

    def covers(self, other: Need) -> bool:
        """Whether a renewal for this need has done what can be done for the other."""
        is_other_than = other.unlike is None or self.unlike == other.unlike
        asks_as_much = self.later >= other.later and self.anyway >= other.anyway and self.min_ttl >= other.min_ttl
        return is_other_than and asks_as_much


# --- plans ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adopt:
    """The stored token will do."""

    grant: StoredGrant


@dataclass(frozen=True, slots=True)
class ExchangeNow:
    """Exchange the stored token (None: there is none), which is the `attempt`-th showing of its refresh token."""

    grant: StoredGrant | None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Watch:
    """Somebody else's exchange may still be settled: watch the store for up to so many seconds and look again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing to be done without a person (DEAD), or not yet (UNCERTAIN, for `seconds` more)."""

    grant: StoredGrant
    status: GrantStatus
    seconds: float = NEVER


Plan = Adopt | ExchangeNow | Watch | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What whoever plans knows beside the record.

    `life` is that of the record's token, `newer_than` the generation known when the need arose (a later one is as good as can be had,
    as long as it is usable at all), `is_holder_gone` whether the process that noted the intent is proved to have ended, `watched` for
    how long the intent has been watched by now.
    """

    now: float
    life: Life
    newer_than: int
    is_holder_gone: bool = False
    watched: float = 0.0


def plan(grant: StoredGrant | None, need: Need, sight: Sight, numbers: RenewalPolicy = DEFAULT_POLICY) -> Plan:
    """What to do with what the store holds."""
    if grant is None:
        return ExchangeNow(None)
    is_later = grant.generation > sight.newer_than
    if is_later or not need.later:
        is_best = is_later or _is_unsurpassed(grant, need, sight)
        if need.is_met_by(grant.token, sight.life, sight.now) or (is_best and _will_do(grant, need, sight)):
            return Adopt(grant)
    if grant.status is GrantStatus.USABLE:
        return ExchangeNow(grant)
    if grant.status is GrantStatus.EXCHANGING and not sight.is_holder_gone:
        left = max(numbers.exchange_limit - max(grant.since, sight.watched), policy.SAVE_GRACE - sight.watched)
        if left > _TICK:
            return Watch(left)
    if need.anyway:
        return ExchangeNow(grant, grant.attempts + 1)
    if grant.status is GrantStatus.DEAD:
        return Refuse(grant, GrantStatus.DEAD)
    if not numbers.repeat_unanswered:
        return Refuse(grant, GrantStatus.UNCERTAIN)
    left = doubt_pause(grant.attempts) - max(grant.since, sight.watched)
    return Refuse(grant, GrantStatus.UNCERTAIN, left) if left > _TICK else ExchangeNow(grant, grant.attempts + 1)


def _will_do(grant: StoredGrant, need: Need, sight: Sight) -> bool:
    """Whether a token that somebody got since the need arose is as good as another exchange would bring."""
    return not need.not_due and Need(unlike=need.unlike).is_met_by(grant.token, sight.life, sight.now)


def _is_unsurpassed(grant: StoredGrant, need: Need, sight: Sight) -> bool:
    """Whether the kind of token never lives as long as is needed, and somebody has exchanged this one a moment ago."""
    length = sight.life.length
    return grant.is_renewed and need.min_ttl >= length and grant.age < spacing(length)
