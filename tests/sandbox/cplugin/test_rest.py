"""REST, versions 1 and 2."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.interop.hubs.raw import RawHub
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import CPluginSandbox

ORDER = {"symbol": "EURUSD", "volume": 1}


class Caller:
    """Calls REST with a good bearer."""

    def __init__(self, server: CPluginSandbox) -> None:
        self.server = server
        self.headers: dict[str, str] = {}
        """Of the last answer."""

    async def __call__(self, path: str, body: object = None, *, method: str = "", **headers: str) -> Any:
        """Status and body."""
        sent = {"Authorization": f"Bearer {self.server.issue()}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.server.plain_url}/{path.replace('MT4/', f'MT4/{self.server.trade_platform}/')}"
        method = method or ("GET" if body is None else "POST")
        async with aiohttp.ClientSession() as session, session.request(method, url, headers=sent, json=body) as reply:
            self.headers = dict(reply.headers)
            text = await reply.text()
            return reply.status, json.loads(text) if reply.content_type == "application/json" else text


@pytest.fixture
def api(server: CPluginSandbox) -> Caller:
    return Caller(server)


async def test_organizations_and_platforms(api: Caller) -> None:
    status, organizations = await api("api/Organizations")
    assert (status, [one["name"] for one in organizations]) == (200, ["Sandbox"])
    status, platforms = await api("api/TradePlatforms")
    assert [(one["id"], one["type"]) for one in platforms] == [(one.id, one.kind) for one in api.server.platforms]
    assert await api(f"api/tradeplatforms/{platforms[1]['id'].upper()}") == (200, platforms[1])
    assert (await api("api/TradePlatforms/nobody"))[0] == 404


async def test_ping_tells_whether_the_platform_can_be_reached(api: Caller) -> None:
    path = f"api/TradePlatforms/{api.server.trade_platform}/Ping"
    assert await api(path) == (200, True)
    api.server.connect_platform(False)
    assert await api(path) == (200, False)
    assert (await api("api/TradePlatforms/nobody/Ping"))[0] == 404


async def test_an_answer_of_version_2_comes_in_an_envelope(api: Caller) -> None:
    status, answer = await api("api/v2/MT4/ServerTime")
    assert (status, set(answer), answer["error"]) == (200, {"data", "error", "meta"}, None)
    assert answer["meta"]["activityId"].startswith("00-")
    assert api.headers["X-Request-Timeout-Applied"] == "10"


async def test_an_answer_of_version_1_does_not(api: Caller) -> None:
    status, users = await api("API/MT4/UsersRequest?api-version=1.0")
    assert (status, len(users)) == (200, 25)
    status, error = await api("API/MT4/UserRecordGet/99")
    assert (status, set(error)) == (400, {"ErrorType", "ErrorCode", "ErrorDescription", "RequestId"})


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("api/v2/MT4/UserRecordGet/99", "NotFound"),
        ("api/v2/MT4/TickInfoLast/NOPE", "NotFound"),
        ("api/v2/MT4/ServerTime/1", "Validation"),
        ("api/v2/MT5/00000000-0000-0000-0000-000000000000/ServerTime", "NotFound"),
        ("api/v2/MT4/UsersRequest?limit=x", "Validation"),
    ],
)
async def test_an_error_comes_inside_a_200(api: Caller, path: str, code: str) -> None:
    status, answer = await api(path)
    assert (status, answer["data"], answer["error"]["code"]) == (200, None, code)


@pytest.mark.parametrize("path", ["api/v2/MT4/Nothing", "api/v2/MT4/TradeTransaction", "api/nothing"])
async def test_what_does_not_exist(api: Caller, path: str) -> None:
    assert await api(path) == (404, "")


@pytest.mark.parametrize("operation", ["TimeGet", "ManagerCurrent", "UserGet/3", "GroupGet/demo", "SymbolGet/EURUSD", "DealByGroup/*"])
async def test_operations_of_mt5(api: Caller, operation: str) -> None:
    _, answer = await api(f"api/v2/MT5/{api.server.platforms[1].id}/{operation}")
    assert answer["error"] is None
    assert answer["data"]


async def test_a_list_comes_in_pages_when_that_is_wanted(api: Caller) -> None:
    _, whole = await api("api/v2/MT4/UsersRequest")
    assert (len(whole["data"]), whole["meta"]["paging"]) == (25, None)
    users, cursor = [], "0"
    while cursor:
        _, page = await api(f"api/v2/MT4/UsersRequest?limit=10&cursor={cursor}")
        users += page["data"]
        assert page["meta"]["paging"]["hasMore"] is (page["meta"]["paging"]["nextCursor"] is not None)
        cursor = page["meta"]["paging"]["nextCursor"]
    assert users == whole["data"]


@pytest.mark.parametrize(("asked", "applied"), [("2.5", "2.5"), ("300", "300")])
async def test_a_deadline_of_choice(api: Caller, asked: str, applied: str) -> None:
    await api("api/v2/MT4/ServerTime", X_Request_Timeout=asked)
    assert api.headers["X-Request-Timeout-Applied"] == applied


@pytest.mark.parametrize("asked", ["0.5", "301", "soon", "nan"])
async def test_a_deadline_that_is_none(api: Caller, asked: str) -> None:
    _, answer = await api("api/v2/MT4/ServerTime", X_Request_Timeout=asked)
    assert answer["error"]["code"] == "Validation"


async def test_a_field_of_a_user_is_changed(api: Caller) -> None:
    _, answer = await api("api/v2/MT4/UserRecord/3", {"leverage": 200, "nonsense": 1}, method="PATCH")
    assert (answer["data"]["login"], answer["data"]["leverage"], "nonsense" in answer["data"]) == (3, 200, False)
    assert (await api("api/v2/MT4/UserRecordGet/3"))[1]["data"]["leverage"] == 200


# --- trades and their keys ------------------------------------------------------------------------------------------------------------


async def test_a_trade_without_a_key_is_executed_each_time(api: Caller) -> None:
    orders = [(await api("api/v2/MT4/TradeTransaction", ORDER))[1]["data"]["order"] for _ in range(2)]
    assert orders == [5000, 5001]


async def test_a_trade_with_a_key_is_executed_once_while_the_answer_is_kept(sandbox: Sandbox, api: Caller) -> None:
    first = await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key="k")
    await sandbox.clock.advance(45)
    assert await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key="k") == first
    await sandbox.clock.advance(16)
    assert (await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key="k"))[1]["data"]["order"] == 5001
    assert len(api.server.office.executed) == 2


async def test_an_unknown_outcome_is_kept_for_an_hour(sandbox: Sandbox, api: Caller) -> None:
    api.server.faults.rest_error = "OutcomeUnknown"
    first = await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key="k")
    assert (first[1]["error"]["code"], api.headers["X-Request-Outcome"]) == ("OutcomeUnknown", "unknown")
    api.server.faults.clear()
    await sandbox.clock.advance(minutes=59)
    assert await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key="k") == first
    assert len(api.server.office.executed) == 1


@pytest.mark.parametrize(
    ("code", "outcome", "executed"),
    [("Busy", "not-started", 0), ("NoConnect", "not-started", 0), ("Timeout", "timeout", 1), ("Internal", None, 0)],
)
async def test_an_error_of_choice(api: Caller, code: str, outcome: str | None, executed: int) -> None:
    api.server.faults.rest_error = code
    _, answer = await api("api/v2/MT4/TradeTransaction", ORDER)
    assert (answer["error"]["code"], api.headers.get("X-Request-Outcome")) == (code, outcome)
    assert len(api.server.office.executed) == executed


@pytest.mark.parametrize("body", [{"symbol": "NOPE", "volume": 1}, {"symbol": "EURUSD", "volume": 0}, [1]])
async def test_a_trade_that_is_none(api: Caller, body: object) -> None:
    _, answer = await api("api/v2/MT4/TradeTransaction", body)
    assert answer["error"]["code"] in ("MT4Error", "Validation")
    assert api.server.office.executed == []


@pytest.mark.parametrize("key", ["x" * 256, "caf\xe9"])
async def test_a_key_that_is_none(api: Caller, key: str) -> None:
    _, answer = await api("api/v2/MT4/TradeTransaction", ORDER, Idempotency_Key=key)
    assert answer["error"]["code"] == "Validation"


async def test_a_platform_that_is_away(api: Caller) -> None:
    api.server.connect_platform(False)
    assert (await api("api/v2/MT4/ServerTime"))[1]["error"]["code"] == "NoConnect"


# --- bearers and proxies --------------------------------------------------------------------------------------------------------------


async def test_rest_wants_the_bearer_in_the_header(raw: RawHub) -> None:
    url = f"{raw.server.base_url}/api/TradePlatforms"
    assert [(await raw.request("GET", url, bearer=bearer))[0] for bearer in ("its own", "bad", None)] == [200, 401, 401]
    assert (await raw.request("GET", f"{url}?access_token={raw.bearer}", bearer=None))[0] == 401


async def test_a_bearer_that_lacks_rights(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.forbid = True
    assert (await raw.request("GET", f"{raw.server.base_url}/api/TradePlatforms"))[0] == 403
    assert (await raw.refusal())[0] == 403


async def test_a_proxy_in_front(api: Caller) -> None:
    api.server.faults.rest_status = 502
    status, page = await api("api/v2/MT4/ServerTime")
    assert (status, page[:6]) == (502, "<html>")


async def test_an_answer_that_is_late(sandbox: Sandbox, api: Caller) -> None:
    api.server.faults.rest_delay = 100.0
    late = asyncio.create_task(api("api/v2/MT4/TradeTransaction", ORDER))
    while not api.server.office.executed:
        await asyncio.sleep(0)
    await sandbox.clock.advance(80)
    assert not late.done()
    await sandbox.clock.advance(21)
    assert (await late)[0] == 200
