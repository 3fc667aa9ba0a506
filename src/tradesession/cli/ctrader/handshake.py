"""`tradesession handshake ctrader`: opens a session, shows each step with its time, and closes it in order.

A token that is given on the command line or in the environment is used as it is: renewing it here would spend a refresh token and save
its successor nowhere. Without one the token comes from the store, whose keeper renews and saves.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tradesession import ctrader
from tradesession.cli.ctrader.options import OPTIONS, SESSION
from tradesession.cli.opening import opened, step_facts
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen
from tradesession.errors import ConfigurationError, ReauthorizationRequired, Rejected

_DONE: Final = {
    "connect": "connected",
    "application_auth": "application authenticated",
    "account_list": "accounts listed",
    "account_auth": "authorised: account",
}
"""What to tell a person when a step is done."""


@OPTIONS.takes(*SESSION)
def handshake(given: Given, json_only: Json = False) -> None:
    """Connect to cTrader, authenticate the application and its accounts, and say goodbye."""
    config = _config(given)
    screen = Screen(as_json=json_only)
    try:
        result, refusal = asyncio.run(open_and_close(config, screen))
    except ReauthorizationRequired as error:
        if not config.access_token:
            raise
        raise _with_remedy(error) from error
    screen.result(result)
    if refusal is not None:
        raise refusal


async def open_and_close(config: ctrader.Config, screen: Screen) -> tuple[dict[str, Any], Exception | None]:
    """Open a session, show each step as it is done, and close it.

    What it was like while it was READY; and why an account was refused that had been asked for by its id, if one was.
    """
    for line in config.lines():
        screen.say(f"cTrader {line.environment} at {':'.join(map(str, _place(line).values()))}", "bold")
    # Which account it was that was authorised, the session tells at the end.
    async with opened(config, screen, lambda done: None if done.step == "account_auth" else _DONE.get(done.step, done.step)) as session:
        for step in session.steps:
            if step.account_id is not None:
                screen.done(told(step, session), step.seconds)
        for account in session.accounts:
            if account.cause is not None:
                screen.failed(f"{account.state.value}: account {account}: {account.cause}")
        screen.say(session.state.value, "bold green")
        refusals = [account.cause for account in session.accounts if account.id in config.accounts and account.cause is not None]
        return described(session), refusals[0] if refusals else None


def told(step: ctrader.Step, session: ctrader.Session) -> str:
    """A step of the handshake, for a person."""
    text = _DONE.get(step.name, step.name)
    return text if step.account_id is None else f"{text} {session.accounts.by_id(step.account_id)}"


def described(session: ctrader.Session) -> dict[str, Any]:
    """What `--json` prints of a session that is READY."""
    lines = session.config.lines()
    return {
        "state": session.state.value,
        "environment": session.config.environment,
        "transport": session.config.transport,
        **(_place(lines[0]) if len(lines) == 1 else {"endpoints": {line.environment: _place(line) for line in lines}}),
        "accounts": [
            {
                "ctidTraderAccountId": account.id,
                "traderLogin": account.login,
                "isLive": account.is_live,
                "brokerTitleShort": account.broker or None,
                "state": account.state.value,
            }
            for account in session.accounts
        ],
        "steps": [
            step_facts(step.name, step.seconds, **({} if step.account_id is None else {"ctidTraderAccountId": step.account_id}))
            for step in session.steps
        ],
    }


def _place(config: ctrader.Config) -> dict[str, Any]:
    host, port = config.endpoint
    return {"websocket_url": config.address} if config.transport == "websocket" else {"host": host, "port": port}


def _config(given: Given) -> ctrader.Config:
    """The configuration, without the refresh token: what is given explicitly is never exchanged here."""
    if given.get("refresh_token") and not given.get("access_token"):
        raise ConfigurationError(
            f"{OPTIONS.described('refresh_token')} without {OPTIONS.described('access_token')} is not used: exchanging it here would lose "
            "its successor; bring the pair into a store with `tradesession tokens import ctrader`"
        )
    return ctrader.Config.from_env(**{"access_token": None} | given | {"refresh_token": None})


def _with_remedy(error: ReauthorizationRequired) -> ReauthorizationRequired:
    refusal = error.__cause__ or error.__context__
    said = f" with {refusal.code}" if isinstance(refusal, Rejected) else ""
    return ReauthorizationRequired(
        f"the server refused the given access token{said}: give a newer one, or leave it out and let a store keep the pair "
        "(`tradesession tokens import ctrader`, renewed by `tradesession tokens refresh ctrader`)"
    )
