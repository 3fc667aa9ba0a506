"""PasswordBearer, refreshing, and what a token is good for."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.sandbox.tradingview.broker import Broker

CREDENTIAL_ERRORS = [{"login": "nobody"}, {"password": "wrong"}, {"locale": None}, {"password": None}]


async def test_a_login_is_answered_by_an_envelope_with_an_absolute_expiry(broker: Broker) -> None:
    reply = await broker.log_in()
    assert reply["s"] == "ok"
    assert reply["d"]["expiration"] == pytest.approx(broker.sandbox.clock.wall() + 1200, abs=60)
    await broker.ok("/groups")


async def test_a_login_may_be_answered_flat_with_relative_expiries(broker: Broker) -> None:
    broker.server.settings.reply_style = "flat"
    reply = await broker.log_in()
    assert (reply["expires_in"], reply["token_type"], reply["refresh_token_expires_in"]) == (1200, "Bearer", 2400)
    assert "s" not in reply
    await broker.ok("/groups")


async def test_a_login_may_be_answered_in_both_ways_with_the_same_token(broker: Broker) -> None:
    broker.server.settings.reply_style = "both"
    reply = await broker.log_in()
    assert reply["d"]["access_token"] == reply["access_token"]


@pytest.mark.parametrize("changed", CREDENTIAL_ERRORS)
async def test_what_is_wrong_with_a_login_is_said_with_http_200(broker: Broker, changed: dict[str, Any]) -> None:
    reply = await broker.log_in(**changed)
    assert reply["s"] == "error"
    assert reply["errmsg"]
    assert broker.server.state.issued == 0


async def test_every_login_gets_a_token_of_its_own_and_all_of_them_live(broker: Broker) -> None:
    tokens = {(await broker.log_in())["d"]["access_token"] for _ in range(10)}
    assert len(tokens) == 10
    for token in tokens:
        assert (await broker.get("/groups", token=token))[0] == 200


async def test_the_four_sets_have_nothing_in_common(broker: Broker) -> None:
    sets = broker.server.credentials
    for name in ("login", "password", "client_id", "client_secret", "user_id", "app_url"):
        assert len({getattr(one, name) for one in sets}) == 4
    assert {(await broker.log_in(slot))["s"] for slot in range(1, 5)} == {"ok"}


@pytest.mark.parametrize("path", ["/groups", "/symbol_info", "/history", "/streaming", "/permissions", "/quotes"])
@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_without_a_good_token_there_is_401(known: Broker, path: str, token: str) -> None:
    status, reply = await known.get(path, token=token)
    assert (status, reply["s"]) == (401, "error")


async def test_an_expired_token_is_refused_with_401(known: Broker) -> None:
    await known.sandbox.clock.advance(seconds=1100)
    await known.ok("/groups")
    await known.sandbox.clock.advance(seconds=101)
    assert (await known.get("/groups"))[0] == 401


async def test_a_logout_ends_the_token(known: Broker) -> None:
    other = known.token
    await known.log_in()
    assert (await known.get("/groups", token=other))[0] == 200
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=known.tls)) as http:
        headers = {"Authorization": f"Bearer {other}"}
        async with http.post(known.server.base_url + "/logout", headers=headers) as response:
            assert await response.json() == {"s": "ok"}
    assert (await known.get("/groups", token=other))[0] == 401
    await known.ok("/groups")


# --- refreshing ---


async def flat(broker: Broker) -> dict[str, Any]:
    broker.server.settings.reply_style = "flat"
    return await broker.log_in()


async def test_a_refresh_token_works_once_and_the_old_access_token_lives_on(broker: Broker) -> None:
    first = await flat(broker)
    status, second = await broker.refresh(first["refresh_token"])
    assert (status, second["expires_in"]) == (200, 1200)
    assert len({first["refresh_token"], second["refresh_token"], first["access_token"], second["access_token"]}) == 4
    for reply in (first, second):
        assert (await broker.get("/groups", token=reply["access_token"]))[0] == 200
    assert await denial(broker, first["refresh_token"]) == "refresh_token_spent"
    assert (await broker.refresh(second["refresh_token"]))[0] == 200
    assert broker.server.state.refreshes == 2


async def test_a_refresh_token_has_a_deadline(broker: Broker) -> None:
    reply = await flat(broker)
    await broker.sandbox.clock.advance(seconds=2401)
    assert await denial(broker, reply["refresh_token"]) == "refresh_token_expired"


async def test_each_refresh_moves_the_deadline(broker: Broker) -> None:
    reply = await flat(broker)
    for _ in range(3):
        await broker.sandbox.clock.advance(seconds=2000)
        status, reply = await broker.refresh(reply["refresh_token"])
        assert status == 200


async def test_an_unknown_refresh_token_is_refused(broker: Broker) -> None:
    assert await denial(broker, "nonsense") == "refresh_token_unknown"


async def test_a_refresh_token_that_stays_works_again(broker: Broker) -> None:
    broker.server.settings.rotation = "off"
    reply = await flat(broker)
    for _ in range(2):
        status, again = await broker.refresh(reply["refresh_token"])
        assert (status, again["refresh_token"]) == (200, reply["refresh_token"])


async def test_the_second_use_of_a_refresh_token_may_end_the_family(broker: Broker) -> None:
    broker.server.settings.rotation = "revoke"
    first = await flat(broker)
    _, second = await broker.refresh(first["refresh_token"])
    assert (await broker.refresh(first["refresh_token"]))[0] == 400
    assert (await broker.get("/groups", token=second["access_token"]))[0] == 401
    assert (await broker.refresh(second["refresh_token"]))[0] == 400


async def test_the_old_token_may_end_soon_after_the_refresh(broker: Broker) -> None:
    broker.server.settings.overlap = 300
    first = await flat(broker)
    await broker.refresh(first["refresh_token"])
    assert (await broker.get("/groups", token=first["access_token"]))[0] == 200
    await broker.sandbox.clock.advance(seconds=301)
    assert (await broker.get("/groups", token=first["access_token"]))[0] == 401


async def test_a_session_that_an_assertion_opened_is_refreshed_by_its_client_only(broker: Broker) -> None:
    _, reply = await broker.present(broker.assertion())
    assert (await broker.refresh(reply["refresh_token"]))[0] == 400
    assert (await broker.refresh(reply["refresh_token"], slot=2))[0] == 400
    assert (await broker.refresh(reply["refresh_token"], slot=1))[0] == 200


# --- faults ---


@pytest.mark.parametrize(("fault", "kind"), [("float", float), ("string", str), ("missing", type(None))])
async def test_an_expiration_may_be_of_a_wrong_type(broker: Broker, fault: str, kind: type) -> None:
    broker.sandbox.set_fault("tradingview.expiration", fault)
    assert type((await broker.log_in())["d"].get("expiration")) is kind
    assert type((await flat(broker)).get("expires_in")) is kind


async def test_an_expiration_may_be_past(broker: Broker) -> None:
    broker.server.faults.expiration = "past"
    assert (await broker.log_in())["d"]["expiration"] < broker.sandbox.clock.wall()


async def test_a_second_session_may_end_the_first(broker: Broker) -> None:
    broker.server.faults.single_session = True
    first = (await broker.log_in())["d"]["access_token"]
    await broker.log_in(2)  # another credential does no harm
    assert (await broker.get("/groups", token=first))[0] == 200
    await broker.log_in()
    assert (await broker.get("/groups", token=first))[0] == 401


async def test_tokens_may_be_the_same_may_live_for_ever_and_passwords_may_not_matter(broker: Broker) -> None:
    faults = broker.server.faults
    faults.duplicate_token = faults.immortal_tokens = faults.any_password = True
    tokens = {(await broker.log_in(password="whatever"))["d"]["access_token"] for _ in range(3)}
    assert len(tokens) == 1
    await broker.sandbox.clock.advance(days=1)
    await broker.ok("/groups")


async def test_a_reply_may_be_lost_after_the_work_was_done(broker: Broker) -> None:
    reply = await flat(broker)
    broker.server.faults.token_reply_lost = True
    with pytest.raises(aiohttp.ClientError):
        await broker.refresh(reply["refresh_token"])
    broker.server.faults.clear()
    assert await denial(broker, reply["refresh_token"]) == "refresh_token_spent"


async def test_the_token_endpoint_may_be_slow_on_the_sandboxs_clock(broker: Broker) -> None:
    broker.server.faults.token_delay = 600
    logging_in = asyncio.ensure_future(broker.log_in())
    async with asyncio.timeout(60):
        while not broker.server.state.issued:
            await asyncio.sleep(0.001)
    assert not logging_in.done()
    await broker.sandbox.clock.advance(seconds=601)
    assert (await logging_in)["s"] == "ok"


async def test_the_token_endpoint_may_fail(broker: Broker) -> None:
    broker.server.faults.token_status = 429
    broker.server.faults.retry_after = 7
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=broker.tls)) as http,
        http.post(broker.server.base_url + "/authorize", data={}) as response,
    ):
        assert (response.status, response.headers["Retry-After"], response.content_type) == (429, "7", "text/html")


@pytest.mark.parametrize(("fault", "status"), [("accepted", 200), ("envelope", 200)])
async def test_a_bad_token_may_be_taken_or_refused_in_the_wrong_way(broker: Broker, fault: str, status: int) -> None:
    broker.sandbox.set_fault("tradingview.bad-token", fault)
    got, reply = await broker.get("/groups")
    assert (got, reply["s"]) == (status, "ok" if fault == "accepted" else "error")


async def denial(broker: Broker, refresh_token: str) -> str:
    """The code with which the refresh token is refused."""
    status, reply = await broker.refresh(refresh_token)
    assert (status, reply["error"]) == (400, "invalid_grant")
    return str(reply["error_code"])
