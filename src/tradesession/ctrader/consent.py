"""From a person's consent to the first Token: the address of the consent page, and the exchange of the code that comes back.

Asks the token endpoint once and stores nothing: who calls this puts the Token into a store, for its refresh secret works once.
"""

from __future__ import annotations

from tradesession.ctrader.config import Config
from tradesession.ctrader.grants import authorization_url
from tradesession.secrets import Secret
from tradesession.timing import SYSTEM_CLOCK
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import AuthorizationCode
from tradesession.tokens.token import Token


def consent_url(config: Config, redirect_uri: str, state: Secret | None = None) -> str:
    """Where to send the person. `redirect_uri` must be registered for the application, letter by letter."""
    return authorization_url(config.client_id, redirect_uri, scope=config.scope, state=state, base=config.auth_url)


async def exchange_code(config: Config, code: Secret, redirect_uri: str) -> Token:
    """The Token for a consent's code, which lives one minute and works once; `redirect_uri` is the one of the consent.

    Raises the errors of an Exchange: ReauthorizationRequired, TokenRefused, TokenEndpointUnreachable, UncertainExchange.
    """
    clock = config.clock or SYSTEM_CLOCK
    grant = AuthorizationCode(config.token_endpoint, code, redirect_uri)
    async with config.token_driver(clock) as driver:
        return await HttpExchange(lambda _: grant, driver, clock=clock)(None)
