"""Our assertions at the sandboxed broker: every spelling is understood, and each mistake is refused with a code of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.tradingview.certificates import KeyFiles
from tradesession import TokenRefused
from tradesession.sandbox import Sandbox
from tradesession.session.manager import SessionManager
from tradesession.tokens.token import Token
from tradesession.tradingview import SAXO, ClientAuth, Config, ServerOAuth2Bearer, Variant, X5t
from tradesession.tradingview.keys import read_key_files


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


def changed(config: Config, **options: Any) -> Config:
    assert isinstance(config.auth, ServerOAuth2Bearer)
    return config.replace(auth=replace(config.auth, **options))


async def token(config: Config) -> Token:
    async with SessionManager(clock=config.clock) as manager:
        return await manager.tokens(config).get()


@pytest.mark.parametrize("spelling", list(X5t))
async def test_every_spelling_of_the_thumbprint_is_understood_and_told_apart(sandbox: Sandbox, spelling: X5t) -> None:
    server = sandbox.tradingview
    config = server.config()
    assert isinstance(config.auth, ServerOAuth2Bearer)
    assert (await token(changed(config, variant=replace(config.auth.variant, x5t=spelling)))).access
    assert sum(server.state.spellings.values()) == 1


async def test_a_strict_server_takes_the_default_and_saxos_kind_takes_the_preset(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    server.settings.x5t = "strict"
    assert (await token(server.config())).access
    server.settings.x5t = "hex"
    server.credentials[1].grant_type = SAXO.grant_type
    assert (await token(changed(server.config(2), variant=SAXO))).access
    assert SAXO.client_auth is ClientAuth.BASIC


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"audience": "https://127.0.0.1/other"}, "aud"),
        ({"user_id": "somebody"}, "sub"),
        ({"app_url": "https://other.example"}, "application"),
        ({"client_secret": "wrong"}, "client"),
        ({"variant": Variant(grant_type="urn:other")}, "grant_type"),
    ],
)
async def test_each_mistake_is_refused_with_a_code_of_its_own(sandbox: Sandbox, options: dict[str, Any], code: str) -> None:
    server = sandbox.tradingview
    with pytest.raises(TokenRefused):
        await token(changed(server.config(), **options))
    (denial,) = server.state.denials
    assert code in denial
    assert server.state.requests["POST /authorize/token"] == 1, "a mistake is not repeated"


async def test_another_key_is_refused(sandbox: Sandbox, files: KeyFiles) -> None:
    server = sandbox.tradingview
    signer, certificate = read_key_files(files.both)
    with pytest.raises(TokenRefused):
        await token(changed(server.config(), signer=signer))
    assert "signature" in next(iter(server.state.denials))
    with pytest.raises(TokenRefused):
        await token(changed(server.config(), signer=signer, certificate=certificate))
    assert len(server.state.denials) == 2


async def test_a_clock_that_is_behind_makes_an_assertion_expire(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    server.faults.clock_offset = 100.0
    with pytest.raises(TokenRefused, match="this machine's clock"):
        await token(server.config())
    assert "expired" in next(iter(server.state.denials))
    assert (await token(changed(server.config(), lifetime=300.0))).access
