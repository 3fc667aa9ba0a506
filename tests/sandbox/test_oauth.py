from __future__ import annotations

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.sandbox.raw_client import RawClient
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox


class Browser:
    """Follows the consent page as a person without JavaScript would."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.ct = sandbox.ctrader
        self.http = http

    async def open(self, url: str = "", **changes: str) -> aiohttp.ClientResponse:
        query = {"client_id": self.ct.client_id, "redirect_uri": self.ct.redirect_uri, "scope": "trading"} | changes
        return await self.http.get(url or self.ct.auth_url, params=query, allow_redirects=False)

    async def submit(self, page: aiohttp.ClientResponse, decision: str, accounts: list[int] | None = None) -> aiohttp.ClientResponse:
        form = Form()
        form.feed(await page.text())
        fields = form.fields if accounts is None else [pair for pair in form.fields if pair[0] != "account"]
        fields += [("account", str(account)) for account in accounts or ()]
        return await self.http.post(page.url, data=[*fields, ("decision", decision)], allow_redirects=False)

    async def consent(self, **changes: str) -> str:
        return answer_of(await self.submit(await self.open(**changes), "allow"))["code"]

    async def token(self, method: str = "POST", **parameters: str) -> tuple[int, dict[str, Any]]:
        sent = {"client_id": self.ct.client_id, "client_secret": self.ct.client_secret} | parameters
        in_query = method == "GET"
        async with self.http.request(
            method, self.ct.token_url, params=sent if in_query else None, data=None if in_query else sent
        ) as response:
            return response.status, await response.json()

    async def exchange(self, code: str, method: str = "POST", **changes: str) -> tuple[int, dict[str, Any]]:
        parameters = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.ct.redirect_uri} | changes
        return await self.token(method, **parameters)

    async def refresh(self, refresh_token: str, method: str = "POST", /, **changes: str) -> tuple[int, dict[str, Any]]:
        return await self.token(method, **{"grant_type": "refresh_token", "refresh_token": refresh_token} | changes)


class Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and (given.get("type") == "hidden" or "checked" in given):
            self.fields.append((given.get("name") or "", given.get("value") or ""))


def answer_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    assert response.status == 302, response
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


@pytest.fixture
async def browser(sandbox: Sandbox) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as http:
        yield Browser(sandbox, http)


async def test_consent_becomes_a_code_and_the_code_becomes_a_pair_that_opens_the_accounts(
    sandbox: Sandbox, browser: Browser, client: RawClient
) -> None:
    status, body = await browser.exchange(await browser.consent())
    assert (status, body["tokenType"], body["expiresIn"], body["errorCode"], body["description"]) == (200, "bearer", 2_628_000, None, None)
    await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken=body["accessToken"]))
    assert len(reply.message.ctidTraderAccount) == len(sandbox.ctrader.accounts)


async def test_the_page_names_the_application_and_every_account(sandbox: Sandbox, browser: Browser) -> None:
    page = await (await browser.open(product="web")).text()
    assert sandbox.ctrader.application.name in page
    assert all(str(account.login) in page for account in sandbox.ctrader.accounts)


async def test_the_page_stands_at_the_older_address_too(sandbox: Sandbox, browser: Browser) -> None:
    old = sandbox.ctrader.token_url.replace("/apps/token", "/apps/auth")
    page = await browser.open(old)
    assert "code" in answer_of(await browser.submit(page, "allow"))


async def test_only_the_chosen_accounts_are_granted(sandbox: Sandbox, browser: Browser, client: RawClient) -> None:
    chosen = sandbox.ctrader.accounts[1].id
    code = answer_of(await browser.submit(await browser.open(), "allow", [chosen]))["code"]
    _, body = await browser.exchange(code)
    await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken=body["accessToken"]))
    assert [one.ctidTraderAccountId for one in reply.message.ctidTraderAccount] == [chosen]


async def test_choosing_no_account_asks_again(browser: Browser) -> None:
    response = await browser.submit(await browser.open(), "allow", [])
    assert (response.status, "at least one account" in await response.text()) == (200, True)


async def test_an_account_of_somebody_else_cannot_be_chosen(sandbox: Sandbox, browser: Browser) -> None:
    stranger = sandbox.ctrader.state.add_account(sandbox.ctrader.state.add_ctid())
    response = await browser.submit(await browser.open(), "allow", [stranger.id])
    assert response.status == 200


async def test_a_program_may_allow_everything_in_one_post(sandbox: Sandbox, browser: Browser) -> None:
    query = {"client_id": sandbox.ctrader.client_id, "redirect_uri": sandbox.ctrader.redirect_uri, "scope": "accounts"}
    response = await browser.http.post(sandbox.ctrader.auth_url, params=query, data={"decision": "allow"}, allow_redirects=False)
    _, body = await browser.exchange(answer_of(response)["code"])
    assert sandbox.ctrader.state.grant_of(body["accessToken"]).scope == "accounts"


async def test_a_refusal_goes_back_as_an_error(browser: Browser) -> None:
    answer = answer_of(await browser.submit(await browser.open(state="s1"), "deny"))
    assert (answer["error"], answer["state"], "code" in answer) == ("access_denied", "s1", False)


@pytest.mark.parametrize("echoed", [True, False])
async def test_whether_state_comes_back_is_a_setting(sandbox: Sandbox, browser: Browser, echoed: bool) -> None:
    sandbox.ctrader.settings.echo_state = echoed
    answer = answer_of(await browser.submit(await browser.open(state="a b&c"), "allow"))
    assert answer.get("state") == ("a b&c" if echoed else None)


async def test_any_port_of_the_registered_loopback_address_is_fine_and_its_query_is_kept(sandbox: Sandbox, browser: Browser) -> None:
    sandbox.ctrader.application.redirect_uris.append("http://127.0.0.1/back?app=1")
    response = await browser.submit(await browser.open(redirect_uri="http://127.0.0.1:4321/back?app=1"), "allow")
    location = urlsplit(response.headers["Location"])
    assert (location.netloc, location.path, answer_of(response)["app"]) == ("127.0.0.1:4321", "/back", "1")


@pytest.mark.parametrize("changes", [{"client_id": "nobody"}, {"redirect_uri": "http://127.0.0.1:1/<script>"}, {"redirect_uri": ""}])
async def test_nobody_is_redirected_to_an_address_that_is_not_registered(browser: Browser, changes: dict[str, str]) -> None:
    response = await browser.open(**changes)
    assert (response.status, "Location" in response.headers, "<script>" in await response.text()) == (400, False, False)


async def test_an_unknown_scope_goes_back_as_an_error(browser: Browser) -> None:
    assert answer_of(await browser.open(scope="everything"))["error"] == "invalid_scope"


async def test_what_a_request_says_is_escaped_on_the_page(browser: Browser) -> None:
    page = await (await browser.open(state='"><script>alert(1)</script>')).text()
    assert "<script>" not in page


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_codes_and_refresh_tokens_are_taken_in_the_query_and_in_a_form(browser: Browser, method: str) -> None:
    _, first = await browser.exchange(await browser.consent(), method)
    status, second = await browser.refresh(first["refreshToken"], method)
    assert (status, second["errorCode"]) == (200, None)
    assert not {first["accessToken"], first["refreshToken"]} & {second["accessToken"], second["refreshToken"]}
    _, third = await browser.refresh(first["refreshToken"], method)
    assert (third["errorCode"], third["accessToken"]) == ("ACCESS_DENIED", None)


async def test_a_code_is_good_for_one_minute_and_one_exchange(sandbox: Sandbox, browser: Browser) -> None:
    code, late = await browser.consent(), await browser.consent()
    assert (await browser.exchange(code))[1]["errorCode"] is None
    assert (await browser.exchange(code))[1]["errorCode"] == "ACCESS_DENIED"
    await sandbox.clock.advance(minutes=1)
    assert (await browser.exchange(late))[1]["errorCode"] == "ACCESS_DENIED"


REFUSALS = {
    "ACCESS_DENIED": [{"client_secret": "wrong"}, {"client_id": "nobody"}, {"refresh_token": "forged"}],
    "INVALID_REQUEST": [{"grant_type": "password"}],
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("code", "changes"), [(code, changes) for code, all_changes in REFUSALS.items() for changes in all_changes])
async def test_a_refusal_has_the_shape_of_a_success_with_a_code(
    sandbox: Sandbox, browser: Browser, status: int, code: str, changes: dict[str, str]
) -> None:
    sandbox.ctrader.settings.oauth_error_status = status
    sent, body = await browser.refresh(sandbox.ctrader.grant().refresh_token, **changes)
    assert (sent, body["errorCode"], body["accessToken"]) == (status, code, None)
    assert body["description"]


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"refresh_token": "forged"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_a_refusal_can_have_the_shape_of_rfc_6749(
    sandbox: Sandbox, browser: Browser, changes: dict[str, str], status: int, error: str
) -> None:
    sandbox.ctrader.settings.oauth_error_shape = "rfc6749"
    sent, body = await browser.refresh(sandbox.ctrader.grant().refresh_token, **changes)
    assert (sent, body["error"], sorted(body)) == (status, error, ["error", "error_description"])


async def test_a_request_without_a_grant_type_is_refused(browser: Browser) -> None:
    assert (await browser.token())[1]["errorCode"] == "INVALID_REQUEST"


async def test_a_success_can_carry_the_old_spelling_too(sandbox: Sandbox, browser: Browser) -> None:
    sandbox.ctrader.settings.snake_case_copies = True
    _, body = await browser.refresh(sandbox.ctrader.grant().refresh_token)
    assert (body["access_token"], body["refresh_token"], body["expires_in"]) == (
        body["accessToken"],
        body["refreshToken"],
        body["expiresIn"],
    )


async def test_a_refresh_over_http_ends_the_sessions_on_the_sockets(sandbox: Sandbox, browser: Browser, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account)
    await browser.refresh(grant.refresh_token)
    assert list((await client.event(pb.ProtoOAAccountsTokenInvalidatedEvent)).ctidTraderAccountIds) == [account.id]
    assert (await client.event(pb.ProtoOAAccountDisconnectEvent)).ctidTraderAccountId == account.id


async def test_the_token_endpoint_can_fail_without_doing_anything(sandbox: Sandbox, browser: Browser) -> None:
    grant = sandbox.ctrader.grant()
    sandbox.ctrader.faults.token_status = 503
    async with browser.http.get(sandbox.ctrader.token_url) as response:
        assert response.status == 503
    assert (grant.rotations, sandbox.ctrader.state.exchanges) == (0, {})


async def test_the_token_endpoint_can_do_its_work_and_lose_the_answer(sandbox: Sandbox, browser: Browser) -> None:
    grant = sandbox.ctrader.grant()
    sandbox.ctrader.faults.token_reply_lost = True
    with pytest.raises(aiohttp.ClientError):
        await browser.refresh(grant.refresh_token)
    assert grant.rotations == 1


async def test_the_token_endpoint_can_be_slow_on_the_sandboxs_clock(sandbox: Sandbox, browser: Browser) -> None:
    import asyncio

    sandbox.ctrader.faults.token_delay = 60.0
    grant = sandbox.ctrader.grant()
    answer = asyncio.create_task(browser.refresh(grant.refresh_token))
    while not grant.rotations:
        await asyncio.sleep(0)
    await sandbox.clock.advance(59)
    assert not answer.done()
    await sandbox.clock.advance(1)
    assert (await answer)[1]["errorCode"] is None
