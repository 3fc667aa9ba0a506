"""What a TokenKeeper knows between two renewals: the token in use, and how long to leave endpoint and store alone after a failure.

Pure; times are parameters. What always holds: `serve_until` lies ahead only while the token in use may be handed out without a
question, so that one comparison decides the fast path; and a refused token is never handed out again.
"""

from __future__ import annotations

from typing import Final

from tradesession import policy
from tradesession.errors import TokenEndpointUnreachable, TokenError
from tradesession.secrets import Secret
from tradesession.tokens.renewal import NEVER, Life, Need, pause_after, refusal_pause, spacing
from tradesession.tokens.token import Token, TokenState
from tradesession.verdict import Action, Level, Verdict

_NO_LIFE: Final = Life(mandatory_at=-NEVER, ends_at=-NEVER)
_URGENT_LENGTH: Final = 600.0  # of a life, for the pauses while there is no good token: they stay below half a minute


class TokenInUse:
    """The token that a keeper hands out, its life on the monotonic clock, and what is known against it."""

    __slots__ = ("_exchanged_at", "_longest", "_young_refusals", "ends_at", "life", "offset", "refused", "serve_until", "token")

    def __init__(self) -> None:
        self.token: Token | None = None
        self.life = _NO_LIFE
        self.refused: Secret | None = None
        self.offset = 0.0
        """Wall clock minus monotonic clock when they were compared last."""
        self.serve_until = -NEVER
        self.ends_at = -NEVER
        self._exchanged_at = -NEVER
        self._longest = 0.0
        self._young_refusals = 0

    def is_news(self, token: Token) -> bool:
        """Whether this token comes after the one in use. Of one generation the store has the last word, when two differ."""
        if self.token is None or token.generation > self.token.generation:
            return True
        return token.generation == self.token.generation and token.access != self.token.access

    def adopt(self, token: Token, life: Life, now: float, wall: float) -> bool:
        """Use this token from now on; False when it is the one in use, or an older one."""
        if not self.is_news(token):
            return False
        self.token, self.life = token, life
        self.refused = None
        self.offset = wall - now
        self.serve_until, self.ends_at = life.mandatory_at, life.ends_at
        return True

    def note_exchange(self, now: float, life: Life) -> None:
        """An exchange of our own brought a token with this life. Spacing goes by the longest: some issuers serve an old one again."""
        self._exchanged_at = now
        self._longest = max(self._longest, life.length)

    def refuse(self, token: Token, now: float) -> bool:
        """A server refused this token; False when that is no news, because another one is in use or it was refused before."""
        if self.token is None or token.access != self.token.access or self.refused is not None:
            return False
        self.refused = token.access
        self.serve_until = -NEVER
        self._young_refusals = self._young_refusals + 1 if self._is_young(now) else 0
        return True

    def withhold(self) -> None:
        """Hand nothing out any more without a question."""
        self.serve_until = -NEVER

    def notice_jump(self, now: float, wall: float) -> float:
        """Seconds that the wall clock went further than the monotonic one since the last look; 0 when they agree.

        A machine that was suspended cannot be told from a clock that was set forward, so both count as time passed. A clock that was
        set back changes nothing.
        """
        jump = wall - now - self.offset
        if self.token is None or abs(jump) < policy.CLOCK_JUMP:
            return 0.0
        self.offset += jump
        if jump > 0:
            self.life = self.life.after_jump(jump)
            self.ends_at = self.life.ends_at
            if self.serve_until > -NEVER:
                self.serve_until = self.life.mandatory_at
        return jump

    def suits(self, need: Need, now: float) -> Token | None:
        """The token, if it meets the need, or is so young that an exchange would bring no better one."""
        token = self.token
        if token is None or token.access == self.refused or need.later:
            return None
        if need.is_met_by(token, self.life, now):
            return token
        return token if self._is_young(now) and need.unlike is None and now < self.life.ends_at else None

    def lasts(self, need: Need, now: float) -> Token | None:
        """The token, if it will do although it should be renewed and cannot be."""
        token = self.token
        if token is None or need.later or token.access in (self.refused, need.unlike) or now + need.min_ttl >= self.life.ends_at:
            return None
        return token

    def state(self, now: float) -> TokenState:
        """What the token is worth; a refused one is EXPIRED."""
        if self.token is None:
            return TokenState.ABSENT
        return TokenState.EXPIRED if self.refused is not None else self.life.state(now)

    def due(self) -> float:
        """When to renew without anybody asking."""
        if self.token is None:
            return NEVER
        if self.refused is not None:
            return -NEVER
        return max(self.life.renew_at, self._exchanged_at + spacing(self._longest))

    def exchange_not_before(self) -> float:
        """When another token may be asked for after a refusal: later and later when servers refuse each new one at once."""
        return self._exchanged_at + refusal_pause(self._young_refusals, self._longest)

    def _is_young(self, now: float) -> bool:
        return now < self._exchanged_at + spacing(self._longest)


class Failures:
    """What went wrong last, and until when nobody is asked again."""

    __slots__ = ("_count", "barred", "error", "until")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """All is well again."""
        self.error: Exception | None = None
        self.until = -NEVER
        self.barred: tuple[int, TokenError] | None = None
        self._count = 0

    def add(self, error: Exception, in_use: TokenInUse, now: float, chance: float) -> None:
        """One more failure in a row."""
        self._count += 1
        self.error = error
        is_good = in_use.suits(Need(), now) is not None
        length = in_use.life.length if is_good else min(in_use.life.length, _URGENT_LENGTH)
        self.until = now + pause_after(error, self._count, length, chance)
        if isinstance(error, TokenError) and error.verdict.needs_human:
            self.until = now  # the store is asked each time: a person may have brought in a new token
            if in_use.token is not None:
                self.barred = (in_use.token.generation, error)

    @property
    def needs_person(self) -> bool:
        """Whether trying again without a newer token is pointless."""
        return isinstance(self.error, TokenError) and self.error.verdict.needs_human

    def standing(self, now: float) -> Exception | None:
        """The error to give to whoever asks before the pause is over."""
        if self.error is None or now >= self.until:
            return None
        left = self.until - now
        if isinstance(self.error, TokenEndpointUnreachable) and self.error.verdict.is_retryable:
            error = TokenEndpointUnreachable(f"{self.error}; the next try is in {left:.0f} s", retry_after=left)
            error.verdict = Verdict(Action.RETRY_AFTER, Level.TOKEN, after=left)
            return error
        return self.error
