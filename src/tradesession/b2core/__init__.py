"""B2Core and B2Trader: the sign-in with both levels of tokens, B2Trader's REST interface, and its hub."""

from tradesession.b2core.client import Account, Row, Session
from tradesession.b2core.config import Config
from tradesession.b2core.errors import (
    CaptchaRequired,
    CodeRefused,
    CodeRequired,
    PasswordResetRequired,
    PersonRequired,
    SignInRefused,
)
from tradesession.b2core.rest import Rest
from tradesession.b2core.signin import AskCode, CodeRequest
from tradesession.signalr.line import Step

__all__ = [
    "Account",
    "AskCode",
    "CaptchaRequired",
    "CodeRefused",
    "CodeRequest",
    "CodeRequired",
    "Config",
    "PasswordResetRequired",
    "PersonRequired",
    "Rest",
    "Row",
    "Session",
    "SignInRefused",
    "Step",
]
