"""What can go wrong at a B2Core sign-in beside what can go wrong at every token endpoint; see `tradesession.errors` for the tree.

Pure. All of them are refusals of the token endpoint (`TokenRefused`): the stored grant is left as it is, so that a correction of the
configuration, or of the account, is found at the next start. None is ever tried again by itself.
"""

from __future__ import annotations

from tradesession.errors import TokenRefused
from tradesession.verdict import Action, Level, Verdict


class SignInRefused(TokenRefused):
    """B2Core refused the email or the password, or a second factor. They are not sent a second time: five tries lock the user out."""


class PersonRequired(SignInRefused):
    """B2Core wants something at the sign-in that a program cannot give: a person has to act."""

    verdict = Verdict(Action.REAUTHORIZE, Level.TOKEN)


class CaptchaRequired(PersonRequired):
    """The broker has reCAPTCHA on: sign in with a browser, and give the bearer as `access_token`."""


class PasswordResetRequired(PersonRequired):
    """The broker wants a new password from this user: reset it on the sign-in page, and configure the new one."""


class CodeRequired(PersonRequired):
    """A two-factor code is wanted, and there was none: no way to ask for it is configured, or nobody answered in time."""


class CodeRefused(PersonRequired):
    """The two-factor code was refused."""
