"""The exceptions of tradesession: one root, few branches, each named after what the author of a bot can do about it.

Pure. Every message is one line that names the value, the cause and the remedy. No exception ever holds a secret: messages are
made of names, codes and numbers, and the values of type `Secret` that they may carry do not show.

    Error
    ├── ConfigurationError        change the configuration; nothing was contacted, or the server does not know what was named
    │   └── UnknownAccount        the chosen account is not among those that the token grants
    ├── NotSent                   try again: the request never left
    │   ├── InvalidRequest        the message cannot travel as it is: change it
    │   └── Unreachable           no connection came about
    │       └── CertificateRefused    the server is not who it should be: fix the trust, do not retry
    ├── Rejected                  the server said no: see code, description, remedy
    ├── DeadlineExceeded          a read was not answered in time; repeating it is safe
    ├── OutcomeUnknown            something that has effects left, and no answer came: ask what became of it before repeating
    ├── LinkLost                  the connection ended
    ├── SessionClosed             the session was closed by its owner
    ├── StreamOverflow            the reader of a stream that must not lose anything was too slow: read faster, or raise its limit
    ├── ProtocolError             the peer broke the wire format
    ├── TokenError                there is no usable token now
    │   ├── ReauthorizationRequired   a person must give consent again
    │   ├── TokenRefused          the token endpoint said no for another reason (the client, the scope, the request)
    │   ├── TokenEndpointUnreachable  the endpoint did not answer; the grant is untouched
    │   └── UncertainExchange     the exchange left and no answer came: the refresh token may be spent
    └── StoreError                the token store refused
        ├── StoreUnreachable      it cannot be reached, or does not answer
        ├── StoreUnusable         wrong file mode, corrupted, wrong key, too new: nothing was changed
        └── Conflict              somebody else committed a newer generation
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tradesession.verdict import Action, Level, Verdict

_SHORT = 300  # characters of a server's text that a message shows


class Error(Exception):
    """Root of everything that tradesession raises on purpose."""

    verdict: Verdict = Verdict(Action.FATAL, Level.REQUEST)
    """What the judge says is to be done about it."""


class ConfigurationError(Error, ValueError):
    """An option is wrong or missing. The message names it and says what was meant."""

    verdict = Verdict(Action.FATAL, Level.LINK)


class UnknownAccount(ConfigurationError):
    """A chosen account is not among those that the token grants, or not in this environment. The message lists the known ones."""


class NotSent(Error):
    """The request never left this process; trying again is safe."""

    verdict = Verdict(Action.RETRY, Level.REQUEST)


class InvalidRequest(NotSent, ValueError):
    """The message cannot travel as it is: a required field is missing, or it is no request. The message names what is wrong."""

    verdict = Verdict(Action.FATAL, Level.REQUEST)


class Unreachable(NotSent):
    """No connection came about: name not resolved, connection refused, no answer to the TLS or WebSocket opening in time."""

    verdict = Verdict(Action.RETRY, Level.LINK)


class CertificateRefused(Unreachable):
    """The server's certificate is not trusted or is another host's. Never retried: more tries do not make it right."""

    verdict = Verdict(Action.FATAL, Level.LINK)


class Rejected(Error):
    """The server answered, and the answer is no.

    `code` is the server's own word for it (for cTrader the error code's name), `description` its text if it sent one, `remedy` what to
    do about it in our words, `verdict` the judge's decision. `account_id` is set when the refusal is about one account.
    """

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        remedy: str = "",
        verdict: Verdict | None = None,
        request: str = "",
        account_id: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.description = description
        self.remedy = remedy
        self.request = request
        self.account_id = account_id
        self.retry_after = retry_after
        if verdict is not None:
            self.verdict = verdict
        subject = request or "the request"
        if account_id is not None:
            subject += f" for account {account_id}"
        said = f"{code} ({_in_short(description)})" if description else code
        super().__init__(f"{subject} was refused with {said}" + (f": {remedy}" if remedy else ""))


def _in_short(text: str) -> str:
    """A server's text, fit for one line of a log: it may be as long as a frame, and hold line breaks."""
    line = " ".join(text[: 2 * _SHORT].split())
    return line if len(line) <= _SHORT and len(text) <= 2 * _SHORT else f"{line[:_SHORT]}…"


class DeadlineExceeded(Error, TimeoutError):
    """No answer within the deadline to a request that only reads; repeating it is safe."""

    verdict = Verdict(Action.RETRY, Level.REQUEST)


class OutcomeUnknown(Error):
    """The request left, and no answer came; it may or may not have been executed. Never repeat it before `settle()` has told."""

    settler: Callable[[], Awaitable[Any]] | None = None
    """How the platform finds out; None where it cannot."""

    async def settle(self) -> Any:
        """Ask the server what became of the request, once the session is READY again; what comes is the platform's own record.

        For cTrader a `ctrader.Settlement`. Raises this error again where nothing can be found out about this kind of request.
        """
        if self.settler is None:
            raise self
        return await self.settler()


class LinkLost(Error):
    """The connection ended. `__cause__` tells why where a cause is known."""

    verdict = Verdict(Action.RETRY, Level.LINK)


class SessionClosed(Error):
    """The session was closed by its owner, or has ended; open another one."""


class StreamOverflow(Error):
    """The reader of a stream that must not lose anything fell behind by more than the limit: read faster, or raise `limit`."""


class ProtocolError(Error):
    """The peer sent something that the wire format does not allow."""

    verdict = Verdict(Action.RETRY, Level.LINK)


class TokenError(Error):
    """There is no usable token now."""

    verdict = Verdict(Action.RETRY, Level.TOKEN)


class ReauthorizationRequired(TokenError):
    """The grant is dead (revoked, expired, spent): a person must give consent again. Retrying cannot help."""

    verdict = Verdict(Action.REAUTHORIZE, Level.TOKEN)


class TokenRefused(TokenError):
    """The token endpoint said no for a reason that another consent would not cure: wrong client, scope or request.

    `code` is the endpoint's own code (`invalid_client`, `ACCESS_DENIED`, …), `description` its text.
    """

    verdict = Verdict(Action.FATAL, Level.TOKEN)

    def __init__(self, message: str, *, code: str = "", description: str = "") -> None:
        self.code = code
        self.description = description
        super().__init__(message)


class TokenEndpointUnreachable(TokenError):
    """The request for a token did not reach the endpoint, or the endpoint is down for now; the grant is untouched.

    `retry_after` is how long to wait before the next try, in seconds, when the endpoint said so.
    """

    tries: int = 1
    """How often it is asked, at once, unless it names a wait: more often where it failed by itself, and nothing can be spent."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UncertainExchange(TokenError):
    """The exchange left and no usable answer came; the refresh token may be spent."""

    tries: int = 2
    """How often a refresh token is shown, at once, before it is left alone for a while: an endpoint that answers is given one more."""


class StoreError(Error):
    """The token store refused; nothing was changed."""

    verdict = Verdict(Action.RETRY, Level.TOKEN)


class StoreUnreachable(StoreError):
    """The store cannot be reached or does not answer in time."""


class StoreUnusable(StoreError):
    """The store must not be used as it is: wrong file mode, corrupted, wrong key, full, or written by a newer version."""

    verdict = Verdict(Action.FATAL, Level.TOKEN)


class Conflict(StoreError):
    """A commit found another generation than it expected: somebody else rotated first. Read the store again."""
