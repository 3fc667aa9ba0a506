"""Spotware's own Python SDK, as the package index has it, against the sandbox over TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.interop.prices import check_quotes
from tests.interop.programs import Step, running
from tradesession.sandbox import Sandbox
from tradesession.sandbox.authority import Flaw

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90, func_only=True), pytest.mark.xdist_group("official-sdk")]

UNCHANGED = {"step": "installed", "version": "0.9.2", "changed": []}
WIRE_DIGITS = 5


def facts(sandbox: Sandbox) -> dict[str, Any]:
    """What `tradesession sandbox --json` tells, for the live host; the other foreign client takes demo."""
    described: dict[str, Any] = sandbox.describe()["ctrader"]
    return {**described, **described["live"], "environment": "live"}


def by_name(steps: list[Step]) -> dict[str, Step]:
    return {step["step"]: step for step in steps if step["step"] != "event"}


async def test_it_gets_from_the_first_byte_to_quotes_and_again_after_a_refresh(
    sandbox: Sandbox, official_sdk: Path, tmp_path: Path
) -> None:
    given = facts(sandbox)
    async with running(official_sdk, "official_sdk.py", tmp_path) as program:
        await program.tell(**given)
        steps = await program.rest()

    done = by_name(steps)
    assert done["installed"] == UNCHANGED
    assert done["application_auth"]["answer"] == "ProtoOAApplicationAuthRes"
    assert done["account_list"]["answer"] == "ProtoOAGetAccountListByAccessTokenRes"
    assert done["account_list"]["accounts"] == [
        {"id": one["ctidTraderAccountId"], "live": one["isLive"], "login": one["traderLogin"]} for one in given["accounts"]
    ]
    assert (done["account_list"]["echoed"], done["account_list"]["scope"]) == (True, 1)
    account_id = next(one["ctidTraderAccountId"] for one in given["accounts"] if one["isLive"])
    assert done["account_auth"] == {"step": "account_auth", "answer": "ProtoOAAccountAuthRes", "account": account_id}
    assert (done["symbols"]["answer"], done["spots"]["answer"]) == ("ProtoOASymbolsListRes", "ProtoOASubscribeSpotsRes")
    check_wire_quotes(done["quotes"], account_id, done["symbols"]["eurusd"])

    assert done["refresh"] == {"step": "refresh", "answer": "ProtoOARefreshTokenRes", "type": "bearer", "expires_in": 2_628_000}
    names = [step["name"] for step in steps if step["step"] == "event"]
    assert names == ["ProtoOAAccountsTokenInvalidatedEvent", "ProtoOAAccountDisconnectEvent"]
    assert all(step["id"] == "" and str(account_id) in step["text"] for step in steps if step["step"] == "event")
    assert refusals(done) == {"old_access_token": "CH_ACCESS_TOKEN_INVALID", "old_refresh_token": "CH_ACCESS_TOKEN_INVALID"}
    assert done["account_auth_again"]["answer"] == "ProtoOAAccountAuthRes"
    assert done["new_access_token"]["answer"] == "ProtoOAGetAccountListByAccessTokenRes"
    check_wire_quotes(done["quotes_again"], account_id, done["symbols"]["eurusd"])

    state = sandbox.ctrader.state
    assert (state.requests["ProtoOAAccountAuthReq"], state.rotations, state.opened) == (2, 1, 1)
    assert state.exchanges[given["refresh_token"]] == 2  # the second time in vain
    assert [(closing.environment, closing.cause) for closing in state.closings] == [("live", "the client")]


def check_wire_quotes(step: Step, account_id: int, symbol_id: int) -> None:
    quotes = [{**quote, "timestamp": quote["timestamp"] / 1000} for quote in step["quotes"]]
    assert {(quote["ctidTraderAccountId"], quote["symbolId"]) for quote in quotes} == {(account_id, symbol_id)}
    check_quotes(quotes, scale=WIRE_DIGITS)


def refusals(done: dict[str, Step]) -> dict[str, str]:
    return {name: step["error"] for name, step in done.items() if step.get("error")}


def careful(given: dict[str, Any]) -> dict[str, Any]:
    """The same facts for an endpoint that verifies: the address, and that the sandbox's authority says so."""
    return {**given, "port": f"{given['port']}:hostname={given['host']}:caCertsDir={Path(given['ca_file']).parent}", "enough": True}


async def test_our_certificate_satisfies_it_where_it_verifies(sandbox: Sandbox, official_sdk: Path, tmp_path: Path) -> None:
    async with running(official_sdk, "official_sdk.py", tmp_path) as program:
        await program.tell(**careful(facts(sandbox)))
        steps = await program.rest()
    assert steps == [UNCHANGED, {"step": "application_auth", "answer": "ProtoOAApplicationAuthRes"}]


@pytest.mark.parametrize(("flaw", "complaint"), [("host", "IPAddressMismatch"), ("authority", "certificate verify failed")])
async def test_it_refuses_a_flawed_certificate_where_it_verifies(
    sandbox: Sandbox, official_sdk: Path, tmp_path: Path, flaw: Flaw, complaint: str
) -> None:
    sandbox.ctrader.faults.wrong_certificate = flaw
    async with running(official_sdk, "official_sdk.py", tmp_path) as program:
        await program.tell(**careful(facts(sandbox)))
        steps = await program.rest()
    assert [step["step"] for step in steps] == ["installed", "disconnected"]
    assert complaint in steps[-1]["cause"]
    assert (sandbox.ctrader.state.opened, sandbox.ctrader.state.failed_handshakes) == (0, 1)


async def test_its_oauth_helper_gets_and_renews_a_pair(sandbox: Sandbox, official_sdk: Path, tmp_path: Path) -> None:
    given = facts(sandbox)
    async with running(official_sdk, "official_sdk_oauth.py", tmp_path) as program:
        await program.tell(**given)
        consent = await program.step("consent")
        await program.tell(code=await give_consent(consent["url"]))
        steps = await program.rest()

    done = by_name(steps)
    assert done["installed"] == UNCHANGED
    first, second = done["exchange"]["answer"], done["refresh"]["answer"]
    for pair in (first, second):
        assert (pair["tokenType"], pair["expiresIn"], pair["errorCode"]) == ("bearer", 2_628_000, None)
    assert len({first["accessToken"], first["refreshToken"], second["accessToken"], second["refreshToken"]}) == 4
    for name in ("exchange_again", "refresh_again"):
        assert (done[name]["answer"]["errorCode"], done[name]["answer"]["accessToken"]) == ("ACCESS_DENIED", None)
    grant = sandbox.ctrader.state.grant_of(second["accessToken"])
    assert (grant.scope, grant.rotations) == ("trading", 1)


async def give_consent(url: str) -> str:
    """Say yes on the consent page, as a browser would; the code from the redirect."""
    async with aiohttp.ClientSession() as browser, browser.post(url, data={"decision": "allow"}, allow_redirects=False) as answer:
        assert answer.status == 302
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
