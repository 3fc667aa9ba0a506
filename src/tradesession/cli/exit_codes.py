"""The exit codes of the command line, and the one function that finds the code of an exception.

Pure. The codes are a promise to scripts: they are documented in the README and in `tradesession --help`, and never change their meaning.
"""

from __future__ import annotations

import enum
from typing import Self

from tradesession.errors import (
    CertificateRefused,
    ConfigurationError,
    Conflict,
    Error,
    ReauthorizationRequired,
    Rejected,
    StoreError,
    TokenEndpointUnreachable,
    TokenRefused,
    UncertainExchange,
    UnknownAccount,
    Unreachable,
)
from tradesession.verdict import Action, Level


class ExitCode(enum.IntEnum):
    """What a command ends with; `meaning` is one line for a person."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """A code with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    UNEXPECTED = 1, "an error in tradesession itself; of `preflight`: findings"
    USAGE = 2, "the command or its configuration is wrong"
    APPLICATION = 3, "the server refuses the application or the credentials: client id, client secret, password, activation"
    UNREACHABLE = 4, "the server cannot be reached"
    CERTIFICATE = 5, "the server's certificate is not trusted"
    ACCOUNT = 6, "an account is unknown, or is refused"
    HUMAN = 7, "a person is needed: the token or the login is refused, or consent is missing"
    STORE = 8, "the token store cannot be reached, or must not be used as it is"
    UNCERTAIN = 9, "it is uncertain whether a refresh token has been spent"
    TOKEN_ENDPOINT = 10, "the token endpoint cannot be reached"
    REFUSED = 11, "the server refused something else, or the link was lost"
    INTERRUPTED = 130, "interrupted"


_BY_CLASS: tuple[tuple[type[Error], ExitCode], ...] = (  # the first that fits: subclasses stand before their bases
    (UnknownAccount, ExitCode.ACCOUNT),
    (ConfigurationError, ExitCode.USAGE),
    (CertificateRefused, ExitCode.CERTIFICATE),
    (Unreachable, ExitCode.UNREACHABLE),
    (Conflict, ExitCode.USAGE),  # the store is well: what it was asked for goes against what it has
    (StoreError, ExitCode.STORE),
    (ReauthorizationRequired, ExitCode.HUMAN),
    (UncertainExchange, ExitCode.UNCERTAIN),
    (TokenEndpointUnreachable, ExitCode.TOKEN_ENDPOINT),
    (TokenRefused, ExitCode.APPLICATION),
)


def exit_code(error: Error) -> ExitCode:
    """The code that a command ends with when this error ended it."""
    if isinstance(error, Rejected):
        return _of_refusal(error)
    if isinstance(error, TokenRefused) and isinstance(error.__cause__, ConfigurationError):
        return ExitCode.USAGE  # the endpoint was never asked: its address cannot be
    if isinstance(error, TokenRefused) and error.verdict.needs_human:
        return ExitCode.HUMAN
    if isinstance(error, TokenEndpointUnreachable) and isinstance(error.__cause__, CertificateRefused):
        return ExitCode.CERTIFICATE
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), ExitCode.REFUSED)


def _of_refusal(refusal: Rejected) -> ExitCode:
    verdict = refusal.verdict
    if verdict.level is Level.TOKEN:
        return ExitCode.HUMAN
    if verdict.level is Level.ACCOUNT:
        return ExitCode.ACCOUNT
    if verdict.level is Level.LINK and verdict.action is Action.FATAL:
        return ExitCode.APPLICATION
    return ExitCode.REFUSED
