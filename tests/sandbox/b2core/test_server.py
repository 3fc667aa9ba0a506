"""The sandboxed B2Core and B2Trader as any HTTP and WebSocket client sees them; nothing of this library's client takes part."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tradesession.errors import ConfigurationError
from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox, known_faults

CORE = "/api/v2/my"
FINGERPRINT = base64.b64encode(b'{"user_agent": "a browser"}').decode()
END = "\x1e"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def server(sandbox: Sandbox) -> B2CoreSandbox:
    return sandbox.b2core


class Browser:
    """A client of its own."""

    def __init__(self, http: aiohttp.ClientSession, server: B2CoreSandbox) -> None:
        self.http = http
        self.server = server

    async def call(self, method: str, path: str, body: Any = None, bearer: str = "", **headers: str) -> tuple[int, Any]:
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        data = json.dumps(body) if body is not None else None
        async with self.http.request(method, self.server.base_url + path, data=data, headers=headers, allow_redirects=False) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if reply.content_type == "application/json" else text

    async def wizard(self) -> dict[str, Any]:
        status, body = await self.call("GET", f"{CORE}/signin/wizard")
        assert status == 200
        return dict(body)

    async def sign_in(self, password: str = "", uuid: str = "", fingerprint: str = FINGERPRINT) -> tuple[int, Any]:
        fields = {
            "uuid": uuid or (await self.wizard())["uuid"],
            "email": self.server.email,
            "password": password or self.server.password,
            "device_fingerprint": fingerprint,
        }
        return await self.call("POST", f"{CORE}/signin", fields)

    async def bearer(self) -> str:
        _, body = await self.sign_in()
        return str(body["data"]["accessToken"]["token"])

    async def pair(self, bearer: str = "", platform: int = 1) -> dict[str, Any]:
        status, body = await self.call("POST", f"{CORE}/platforms/{platform}/auth", bearer=bearer or await self.bearer())
        assert status == 200, body
        return dict(body)


@pytest.fixture
async def browser(server: B2CoreSandbox) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as http:
        yield Browser(http, server)


# --- the sign-in ------------------------------------------------------------------------------------------------------------------------


async def test_the_wizard_has_the_documented_fields(browser: Browser) -> None:
    wizard = await browser.wizard()
    assert set(wizard) == {"code", "data", "done", "uuid", "workflow"}
    assert (wizard["code"], wizard["done"], wizard["workflow"], wizard["data"]["recaptcha"]) == (200, False, "login", {"enabled": False})
    browser.server.settings.wizard_done = True
    assert (await browser.wizard())["code"] == 202


async def test_a_sign_in_ends_with_202_and_both_tokens(browser: Browser) -> None:
    status, body = await browser.sign_in()
    assert (status, body["code"], body["done"]) == (200, 202, True)
    for name in ("accessToken", "refreshToken"):
        assert set(body["data"][name]) == {"token", "createdAt", "expiresAt"}


async def test_a_uuid_is_good_for_one_sign_in_and_an_unknown_one_for_none(browser: Browser) -> None:
    uuid = (await browser.wizard())["uuid"]
    assert (await browser.sign_in(uuid=uuid))[0] == 200
    assert (await browser.sign_in(uuid=uuid))[0] == 422
    assert (await browser.sign_in(uuid="nobody's"))[0] == 422


@pytest.mark.parametrize("fingerprint", ["", "no base64!", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode()])
async def test_a_fingerprint_without_a_user_agent_is_refused(browser: Browser, fingerprint: str) -> None:
    assert (await browser.sign_in(fingerprint=fingerprint))[0] == 422


async def test_five_wrong_passwords_within_a_minute_lock_the_user_out_for_ten(sandbox: Sandbox, browser: Browser) -> None:
    assert [(await browser.sign_in("wrong"))[0] for _ in range(5)] == [401] * 5
    assert (await browser.sign_in())[0] == 429
    await sandbox.clock.advance(601)
    assert (await browser.sign_in())[0] == 200
    for _ in range(10):  # not within a minute
        assert (await browser.sign_in("wrong"))[0] == 401
        await sandbox.clock.advance(20)


async def test_errors_have_either_shape(browser: Browser) -> None:
    _, envelope = await browser.sign_in("wrong")
    assert envelope["error"]["details"] == [{"issue": "email"}]
    browser.server.settings.errors = "laravel"
    _, bare = await browser.sign_in("wrong")
    assert set(bare) == {"message"}


@pytest.mark.parametrize(("factor", "workflow"), [("google", "2fa_google"), ("sms", "2fa_sms"), ("email", "2fa_email")])
async def test_a_second_factor_is_a_step_of_its_own(browser: Browser, factor: Any, workflow: str) -> None:
    browser.server.settings.two_factor = factor
    status, body = await browser.sign_in()
    assert (status, body["code"], body["done"], body["workflow"]) == (200, 200, False, workflow)
    assert (await browser.call("POST", f"{CORE}/2fa/{factor}", {"uuid": body["uuid"], "code": "000"}))[0] == 422
    code = browser.server.state.codes[-1]
    status, body = await browser.call("POST", f"{CORE}/2fa/{factor}", {"uuid": body["uuid"], "code": code})
    assert (status, body["code"]) == (200, 202)


async def test_of_two_factors_one_has_to_be_chosen(browser: Browser) -> None:
    browser.server.settings.two_factor = "both"
    _, body = await browser.sign_in()
    uuid = body["uuid"]
    assert (await browser.call("POST", f"{CORE}/signin/2fa", {"uuid": uuid, "type": "email"}))[0] == 422
    _, body = await browser.call("POST", f"{CORE}/signin/2fa", {"uuid": uuid, "type": "sms"})
    assert body["workflow"] == "2fa_sms"


async def test_recaptcha_and_a_forced_reset_are_told(browser: Browser) -> None:
    browser.server.faults.recaptcha = True
    assert (await browser.wizard())["data"]["recaptcha"]["enabled"] is True
    assert (await browser.sign_in())[0] == 422
    browser.server.faults.recaptcha = False
    browser.server.faults.forced_reset = True
    assert (await browser.sign_in())[1]["workflow"] == "password_reset"


async def test_a_bearer_is_refreshed_with_its_fingerprint_and_the_old_one_ends(browser: Browser) -> None:
    _, body = await browser.sign_in()
    old = body["data"]
    refresh = {"refreshToken": old["refreshToken"]["token"], "deviceFingerprint": "another"}
    assert (await browser.call("POST", f"{CORE}/refresh", refresh))[0] == 401
    refresh["deviceFingerprint"] = FINGERPRINT
    status, body = await browser.call("POST", f"{CORE}/refresh", refresh)
    assert status == 200
    assert (await browser.call("GET", f"{CORE}/platforms", bearer=old["accessToken"]["token"]))[0] == 401
    assert (await browser.call("GET", f"{CORE}/platforms", bearer=body["data"]["accessToken"]["token"]))[0] == 200
    browser.server.settings.bearer_refresh_null = True
    refresh["refreshToken"] = body["data"]["refreshToken"]["token"]
    assert (await browser.call("POST", f"{CORE}/refresh", refresh))[1]["data"]["refreshToken"] is None


# --- the platform -----------------------------------------------------------------------------------------------------------------------


async def test_a_pair_has_the_documented_fields_and_a_ttl_in_text(browser: Browser) -> None:
    pair = await browser.pair()
    assert set(pair) == {"token", "refreshToken", "ttl", "host", "header"}
    assert (pair["ttl"], pair["host"], pair["header"]) == ("600", browser.server.base_url, "Authorization")


@pytest.mark.parametrize(("ttl", "written"), [("number", 60), ("0", "0"), ("abc", "abc"), ("milliseconds", "60000"), ("missing", None)])
async def test_a_ttl_has_every_shape(browser: Browser, ttl: Any, written: Any) -> None:
    browser.server.settings.pair_life, browser.server.settings.ttl = 60, ttl
    assert (await browser.pair()).get("ttl") == written


async def test_a_pair_may_be_one_text_and_its_expiry_another(browser: Browser) -> None:
    browser.server.settings.identical_pair = True
    browser.server.settings.jwt_life = 36_000
    pair = await browser.pair()
    assert pair["token"] == pair["refreshToken"]
    payload = pair["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] - claims["iat"] == pytest.approx(36_000, abs=1)


async def test_a_used_refresh_token_is_dead_and_shown_again_ends_what_came_of_it(browser: Browser) -> None:
    bearer = await browser.bearer()
    first = await browser.pair(bearer)
    path = f"{CORE}/platforms/1/refresh"
    status, second = await browser.call("POST", path, {"refreshToken": first["refreshToken"]}, bearer)
    assert status == 200
    accounts = "/frontoffice/api/v3/accounts"
    assert (await browser.call("GET", accounts, bearer=second["token"]))[0] == 200
    assert (await browser.call("POST", path, {"refreshToken": first["refreshToken"]}, bearer))[0] == 400
    assert (await browser.call("GET", accounts, bearer=second["token"]))[0] == 401
    assert (await browser.call("POST", path, {"refreshToken": "unknown"}, bearer))[0] == 400


async def test_platforms_want_a_bearer_and_are_not_all_b2traders(browser: Browser) -> None:
    bearer = await browser.bearer()
    _, platforms = await browser.call("GET", f"{CORE}/platforms", bearer=bearer)
    assert [platform["type"] for platform in platforms] == ["b2trader", "mt5"]
    statuses = [(await browser.call("POST", f"{CORE}/platforms/{number}/auth", bearer=bearer))[0] for number in ("1", "2", "3", "x")]
    assert statuses == [200, 422, 404, 404]
    assert (await browser.call("POST", f"{CORE}/platforms/1/auth", bearer="nobody's"))[0] == 401


async def test_the_country_may_be_demanded(browser: Browser) -> None:
    browser.server.settings.geo_required = True
    bearer = await browser.bearer()
    path = f"{CORE}/platforms/1/auth"
    assert (await browser.call("POST", path, bearer=bearer))[0] == 422
    geo = {"Geo-Country-Code": "+995", "Geo-Country-Name": "Georgia"}
    assert (await browser.call("POST", path, bearer=bearer, **geo))[0] == 200


async def test_either_level_may_end_before_the_other(sandbox: Sandbox, browser: Browser) -> None:
    bearer = await browser.bearer()
    pair = await browser.pair(bearer)
    browser.server.state.end_bearers()
    assert (await browser.call("GET", "/frontoffice/api/v3/accounts", bearer=pair["token"]))[0] == 200
    assert (await browser.call("POST", f"{CORE}/platforms/1/auth", bearer=bearer))[0] == 401
    other = await browser.bearer()
    await sandbox.clock.advance(601)
    assert (await browser.call("GET", "/frontoffice/api/v3/accounts", bearer=pair["token"]))[0] == 401
    assert await browser.pair(other)


# --- B2Trader ---------------------------------------------------------------------------------------------------------------------------


async def test_orders_are_taken_and_listed(browser: Browser) -> None:
    token = (await browser.pair())["token"]
    account = browser.server.state.accounts[0]["accountId"]
    path = "/frontoffice/api/v3/orders"
    assert (await browser.call("POST", path, {"accountId": account, "side": "Sell"}, token))[1]["side"] == "Sell"
    assert (await browser.call("POST", path, {"accountId": "nobody's"}, token))[0] == 404
    assert len((await browser.call("GET", f"{path}?accountId={account}", bearer=token))[1]) == 1
    assert (await browser.call("POST", path, None, token))[0] == 404
    async with browser.http.post(browser.server.base_url + path, data=b"{", headers={"Authorization": f"Bearer {token}"}) as reply:
        assert reply.status == 400


async def test_the_hub_speaks_signalr_to_whoever_has_a_good_token_in_the_query(browser: Browser) -> None:
    hub = browser.server.base_url + "/frontoffice/ws/v4/account"
    async with browser.http.get(hub) as refused:
        assert refused.status == 401
    token = (await browser.pair())["token"]
    account = browser.server.state.accounts[0]["accountId"]
    async with browser.http.ws_connect(f"{hub}?access_token={token}") as socket:
        await socket.send_str(json.dumps({"protocol": "json", "version": 1}) + END)
        assert await socket.receive_str() == "{}" + END
        stream = {"type": 4, "invocationId": "0", "target": "OpenPositions", "arguments": [account]}
        await socket.send_str(json.dumps(stream) + END)
        item = json.loads((await socket.receive_str()).rstrip(END))
        assert (item["type"], item["invocationId"], set(item["item"])) == (2, "0", {"item"})
        await socket.send_str(json.dumps({"type": 5, "invocationId": "0"}) + END)
        assert json.loads((await socket.receive_str()).rstrip(END))["type"] == 3


async def test_a_negotiated_id_opens_one_socket(browser: Browser) -> None:
    hub = browser.server.base_url + "/frontoffice/ws/v4/account"
    token = (await browser.pair())["token"]
    status, body = await browser.call("POST", "/frontoffice/ws/v4/account/negotiate?negotiateVersion=1", bearer=token)
    assert status == 200
    async with browser.http.ws_connect(f"{hub}?id={body['connectionToken']}&access_token={token}") as socket:
        assert not socket.closed
    async with browser.http.get(f"{hub}?id=unknown&access_token={token}") as refused:
        assert refused.status == 404
    assert (await browser.call("POST", "/frontoffice/ws/v4/account/negotiate"))[0] == 401


async def test_a_hub_that_follows_its_token_closes_with_it(sandbox: Sandbox, browser: Browser) -> None:
    browser.server.settings.hub_follows_token = True
    token = (await browser.pair())["token"]
    url = f"{browser.server.base_url}/frontoffice/ws/v4/account?access_token={token}"
    async with browser.http.ws_connect(url) as socket:
        await socket.send_str(json.dumps({"protocol": "json", "version": 1}) + END)
        await socket.receive_str()
        await sandbox.clock.advance(601)
        said = ""
        async for message in socket:
            said += message.data
        assert json.loads(said.split(END)[-2])["allowReconnect"] is True


# --- knobs ------------------------------------------------------------------------------------------------------------------------------


async def test_redirects_and_statuses_are_what_was_asked_for(browser: Browser) -> None:
    server = browser.server
    server.faults.redirect = "https://elsewhere.example"
    assert (await browser.call("GET", f"{CORE}/signin/wizard"))[0] == 307
    server.faults.clear()
    server.faults.sign_in_status, server.faults.retry_after = 503, 9
    async with browser.http.get(f"{server.base_url}{CORE}/signin/wizard") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "9")


async def test_knobs_have_names_on_the_command_line(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    names = known_faults()
    assert len(names) > 25
    assert all(text and not text.endswith(".") for text in names.values())
    sandbox.set_fault("b2core.ttl", "abc")
    sandbox.set_fault("b2core.recaptcha")
    sandbox.set_fault("b2core.pair-life", "60")
    assert (server.settings.ttl, server.faults.recaptcha, server.settings.pair_life) == ("abc", True, 60.0)
    with pytest.raises(ConfigurationError, match="recaptcha"):
        sandbox.set_fault("b2core.recapcha")
    with pytest.raises(ConfigurationError):
        sandbox.set_fault("b2core.ttl", "soon")


async def test_the_same_seed_makes_the_same_user_accounts_and_tokens() -> None:
    described = []
    for seed in (3, 3, 4):
        async with Sandbox(seed=seed) as sandbox:
            server = sandbox.b2core
            described.append((server.password, [account["accountId"] for account in server.state.accounts]))
    assert described[0] == described[1] != described[2]


async def test_what_is_described_lets_a_client_in_and_stays_the_same(browser: Browser) -> None:
    described = browser.server.describe()
    assert described == browser.server.describe()
    assert set(described) == {"base_url", "email", "password", "access_token", "platform_id"}
    assert (await browser.pair(described["access_token"], described["platform_id"]))["token"]
