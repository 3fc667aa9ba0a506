"""ctrader-api-client, an asyncio client by somebody else, as the package index has it, against the sandbox over TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from tests.interop.prices import check_quotes
from tests.interop.programs import Step, running
from tradesession.sandbox import Sandbox
from tradesession.sandbox.authority import Flaw

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90, func_only=True), pytest.mark.xdist_group("api-client")]

UNCHANGED = {"step": "installed", "version": "0.12.0", "changed": []}


def facts(sandbox: Sandbox) -> dict[str, Any]:
    """What `tradesession sandbox --json` tells, for the demo host; the other foreign client takes live."""
    described: dict[str, Any] = sandbox.describe()["ctrader"]
    return {**described, **described["demo"], "environment": "demo"}


def trust(sandbox: Sandbox) -> dict[str, str]:
    """The variable that makes OpenSSL, and so Python's default TLS context, trust the sandbox's authority."""
    return {"SSL_CERT_FILE": str(sandbox.ctrader.ca_file)}


async def test_it_gets_to_quotes_and_again_after_a_refresh_a_cut_line_and_a_dropped_account(
    sandbox: Sandbox, api_client: Path, tmp_path: Path
) -> None:
    # Its author says of the real server that subscriptions outlive a refresh; the client counts on it.
    sandbox.ctrader.settings.keep_subscriptions_on_refresh = True
    given = facts(sandbox)
    account_id = next(one["ctidTraderAccountId"] for one in given["accounts"] if not one["isLive"])
    async with running(api_client, "api_client.py", tmp_path, trust(sandbox)) as program:
        await program.tell(**given)
        await program.step("refreshed")
        await sandbox.ctrader.faults.cut()
        await program.step("reconnected")
        sandbox.ctrader.faults.account_disconnect(account_id)
        steps = await program.rest()

    done = {step["step"]: step for step in steps}
    assert done["installed"] == UNCHANGED
    assert done["application_auth"]["connected"]
    check_accounts(done["account_list"], given)
    assert (done["account_auth"]["account"], done["account_auth"]["trigger"]) == (account_id, "INITIAL")
    symbol_id = done["spots"]["symbol"]

    assert (done["refresh"]["accounts"], done["refresh"]["reason"]) == ([account_id], "Access token was refreshed")
    assert done["refresh"]["lifetime"] == pytest.approx(2_628_000, abs=60)
    assert done["account_auth_again"] == {"step": "account_auth_again", "saved": 1, "is_held": True, "is_new": True}
    assert done["tokens"] == {
        "step": "tokens", "old_access_token_dead": True, "old_refresh_token_dead": True, "new_access_token_dead": False,
    }  # fmt: skip
    assert done["trader"]["account"] == account_id

    assert done["ready_again"] == {"step": "ready_again", "restored": [account_id], "failed": [], "trigger": "RECONNECT"}
    assert done["ready_once_more"] == {"step": "ready_once_more", "account": account_id, "trigger": "ACCOUNT_REAUTH"}
    for name in ("quotes", "quotes_after_refresh", "quotes_after_reconnect", "quotes_after_drop"):
        assert {(quote["account"], quote["symbol"]) for quote in done[name]["quotes"]} == {(account_id, symbol_id)}
        check_quotes(done[name]["quotes"])

    state = sandbox.ctrader.state
    assert (state.rotations, state.opened, state.requests["ProtoOAApplicationAuthReq"]) == (1, 2, 2)
    assert state.requests["ProtoOAAccountAuthReq"] == 4  # at first, after the refresh, after the cut, after the drop
    assert state.requests["ProtoOASubscribeSpotsReq"] == 3  # not after the refresh
    assert [closing.cause for closing in state.closings] == ["fault: cut", "the client"]


def check_accounts(step: Step, given: dict[str, Any]) -> None:
    names = {"id": "ctidTraderAccountId", "live": "isLive", "login": "traderLogin", "broker": "brokerTitleShort"}
    assert step["accounts"] == [{ours: one[theirs] for ours, theirs in names.items()} for one in given["accounts"]]


@pytest.mark.parametrize("flaw", ["", "host"])
async def test_it_refuses_a_certificate_that_it_has_no_reason_to_trust(
    sandbox: Sandbox, api_client: Path, tmp_path: Path, flaw: Flaw | Literal[""]
) -> None:
    sandbox.ctrader.faults.wrong_certificate = flaw
    variables = trust(sandbox) if flaw else {}  # without a flaw in it, nobody has told that the authority is to be trusted
    async with running(api_client, "api_client.py", tmp_path, variables) as program:
        await program.tell(**facts(sandbox))
        steps = await program.rest()
    assert [step["step"] for step in steps] == ["installed", "not_connected"]
    assert "SSLCertVerificationError" in steps[-1]["cause"]
    assert (sandbox.ctrader.state.opened, sandbox.ctrader.state.failed_handshakes) == (0, 1)
