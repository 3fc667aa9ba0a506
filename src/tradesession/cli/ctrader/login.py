"""`tradesession login ctrader`: a person's consent becomes a token in the store.

Always holds: the store was seen to work before the person is asked, so that a consent is not given in vain; and the code, which lives a
minute and works once, is neither shown nor logged.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import webbrowser
from typing import Annotated, Final

import typer

from tradesession import ctrader, policy
from tradesession.cli.ctrader.options import CONSENT, OPTIONS
from tradesession.cli.manager import in_a_file
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen
from tradesession.cli.stored import as_facts, as_json
from tradesession.ctrader.consent import consent_url, exchange_code
from tradesession.errors import StoreError
from tradesession.tokens.consent import RedirectCatcher, new_state, parse_pasted
from tradesession.tokens.stores import open_store

REDIRECT_URI: Final = "http://127.0.0.1:8765/callback"
"""Where the browser comes back to, unless told otherwise. The application must have it registered."""


@OPTIONS.takes(*CONSENT)
def login(
    given: Given,
    json_only: Json = False,
    paste: Annotated[
        bool,
        typer.Option("--paste", envvar="TRADESESSION_PASTE", help="Paste the address that a browser on another machine ends at."),
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", envvar="TRADESESSION_NO_BROWSER", help="Show the address, and open no browser.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", envvar="TRADESESSION_CONSENT_TIMEOUT", min=0.1, help="Seconds that the person may take."),
    ] = policy.CONSENT_TIMEOUT,
) -> None:
    """Ask a person for consent at cTrader's page, and store the token that it yields."""
    config = _config(given)
    screen = Screen(as_json=json_only, narrate=True)
    asyncio.run(_login(config, given.get("store"), screen, paste=paste, browser=not no_browser, timeout=timeout))


async def _login(config: ctrader.Config, store_url: str | None, screen: Screen, *, paste: bool, browser: bool, timeout: float) -> None:
    async with open_store(store_url) as store:
        await store.load(config.slot)  # what cannot be read cannot be replaced
        state = new_state()
        if paste:
            redirect_uri = config.redirect_uri
            screen.say("Open this address in a browser, agree, and paste the address that it ends at (it may show an error there):")
            screen.say(consent_url(config, redirect_uri, state))
            code = parse_pasted(sys.stdin.readline(), state)
        else:
            async with RedirectCatcher(config.redirect_uri, state=state, timeout=timeout) as catcher:
                redirect_uri = catcher.redirect_uri
                url = consent_url(config, redirect_uri, state)
                screen.say("Give your consent in a browser on this machine:")
                screen.say(url)
                if browser:
                    _open_browser(url)
                with screen.waiting("waiting for the browser to come back"):
                    code = await catcher.code()
        screen.done("consent received")
        token = await exchange_code(config, code, redirect_uri)
        screen.done("code exchanged")
        try:
            await store.put(config.slot, token, force=True)  # what a person has just agreed to goes before whatever is there
        except StoreError as error:
            raise in_a_file(token, config.slot) from error
        grant = await store.load(config.slot)
    assert grant is not None
    screen.done("token stored")
    wall = time.time()
    screen.facts(as_facts(config.slot, grant, wall))
    screen.result(as_json(config.slot, grant, wall))


def _open_browser(url: str) -> None:
    """Open a window where there is a screen. Nobody waits for it: some browsers return when they are closed."""
    has_screen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")))
    if has_screen:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _config(given: Given) -> ctrader.Config:
    options: Given = {"redirect_uri": REDIRECT_URI} | given | {"access_token": None, "refresh_token": None}
    return ctrader.Config.from_env(**options)
