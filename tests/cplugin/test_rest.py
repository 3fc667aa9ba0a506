"""The REST interface over real sockets: what leaves, what is repeated, and what never is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from tests.cplugin.scripted import PLATFORM, Api, envelope, lost
from tradesession import SessionManager, cplugin, policy
from tradesession.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    ProtocolError,
    ReauthorizationRequired,
    SessionClosed,
    Unreachable,
)
from tradesession.hooks import Record, RequestTimed
from tradesession.tokens.token import Token
from tradesession.verdict import Level

TIME = "/api/v2/MT4/{tradePlatform}/ServerTime"
TRADE = "/api/v2/MT4/{tradePlatform}/TradeTransaction"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "CPLUGIN_RETRY_BASE", 0.001)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api(envelope("now")) as api:
        yield api


def problem(code: str, **more: Any) -> web.Response:
    return envelope(error={"code": code, "managerCode": None, "message": "", **more})


# --- what leaves ---------------------------------------------------------------------------------------------------------------------


async def test_the_three_calls_of_the_authorization_page(api: Api) -> None:
    api.answers = [
        web.json_response([{"id": "o", "name": "Ours"}]),
        web.json_response([{"id": PLATFORM, "name": "Demo", "type": "MT4", "organization": {"id": "o"}}]),
        web.json_response(True),
    ]
    async with api.rest() as rest:
        assert await rest.organizations() == [cplugin.Organization(id="o", name="Ours")]
        [platform] = await rest.trade_platforms()
        assert (platform.id, platform.type, platform.organization) == (PLATFORM, "MT4", cplugin.Organization(id="o"))
        assert await rest.ping() is True
    assert [seen.path for seen in api.seen] == ["/api/Organizations", "/api/TradePlatforms", f"/api/TradePlatforms/{PLATFORM}/Ping"]
    assert {seen.bearer for seen in api.seen} == {"planted-token-1"}
    assert len(api.tokens) == 1


async def test_another_platform_can_be_pinged(api: Api) -> None:
    other = UUID(int=5)
    api.answers = [web.json_response(None)]
    async with api.rest(trade_platform="") as rest:
        await rest.ping(other)
        with pytest.raises(InvalidRequest, match="wants tradePlatform"):
            await rest.ping()
    assert api.seen[0].path == f"/api/TradePlatforms/{other}/Ping"


async def test_a_list_that_is_none_is_a_protocol_error(api: Api) -> None:
    api.answers = [web.json_response({"items": []})]
    async with api.rest() as rest:
        with pytest.raises(ProtocolError, match="a list of TradePlatform"):
            await rest.trade_platforms()


async def test_path_query_and_body_travel_as_they_are_meant(api: Api) -> None:
    async with api.rest() as rest:
        reply = await rest.call(
            "POST",
            "/api/v2/MT4/{tradePlatform}/GroupRecord/{group}",
            parts={"group": "demo forex/é"},
            query={"limit": 5, "deep": True, "logins": [1, 2], "none": None},
            body={"at": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=1)},
        )
    [seen] = api.seen
    assert reply.data == "now"
    assert reply.activity_id == "00-activity-01"
    assert seen.path == f"/api/v2/MT4/{PLATFORM}/GroupRecord/demo forex/é"
    assert list(seen.query.items()) == [("limit", "5"), ("deep", "true"), ("logins", "1"), ("logins", "2")]
    assert json.loads(seen.body) == {"at": "2026-01-01T00:00:00+00:00", "id": str(UUID(int=1))}
    assert seen.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "options", "said"),
    [
        ("FETCH", TIME, {}, "no method"),
        ("GET", "api/v2", {}, "no path"),
        ("GET", "//elsewhere.test/api", {}, "no path"),
        ("GET", "https://elsewhere.test/api", {}, "no path"),
        ("GET", "/api/../hubs", {}, "no path"),
        ("GET", "/api/x?y=1", {}, "no path"),
        ("GET", "/api/{login}", {}, "wants login"),
        ("GET", "/api/UserRecord/{login}", {"parts": {"login": ".."}}, "another one"),
        ("GET", "/api/{login}/UserRecord", {"parts": {"login": "."}}, "another one"),
        ("POST", TRADE, {"body": {1, 2}}, "as JSON"),
        ("POST", TRADE, {"body": float("nan")}, "as JSON"),
        ("POST", TRADE, {"idempotency_key": "x" * 256}, "255"),
        ("POST", TRADE, {"idempotency_key": "clé"}, "ASCII"),
        ("GET", TIME, {"server_timeout": 0.5}, "between 1 and 300"),
        ("GET", TIME, {"server_timeout": 301}, "between 1 and 300"),
    ],
)
async def test_what_cannot_be_meant_never_leaves(api: Api, method: str, path: str, options: dict[str, Any], said: str) -> None:
    async with api.rest() as rest:
        with pytest.raises(InvalidRequest, match=said):
            await rest.call(method, path, **options)
    assert not api.seen
    assert not api.tokens


@pytest.mark.parametrize(
    ("options", "sent"),
    [({}, None), ({"timeout": 20}, "19"), ({"timeout": 1}, "1"), ({"timeout": 900}, "300"), ({"server_timeout": 2.5}, "2.5")],
)
async def test_the_server_is_told_how_long_it_may_take(api: Api, options: dict[str, Any], sent: str | None) -> None:
    async with api.rest() as rest:
        await rest.call("GET", TIME, **options)
    assert api.seen[0].headers.get("X-Request-Timeout") == sent


async def test_a_key_is_made_up_for_what_has_effects_in_v2_alone(api: Api) -> None:
    async with api.rest() as rest:
        for path in (TRADE, TRADE):
            await rest.call("POST", path)
        await rest.call("GET", TIME)
        await rest.call("POST", TIME, reads=True)
        await rest.call("POST", TRADE, idempotency_key="mine")
        await rest.call("POST", "/api/v1thing")
    keys = [seen.headers.get("Idempotency-Key") for seen in api.seen]
    assert keys[0] != keys[1]
    assert all(key is not None and key.startswith("ts-") for key in keys[:2])
    assert keys[2:] == [None, None, "mine", None]


# --- refusals ----------------------------------------------------------------------------------------------------------------------------


async def test_a_refusal_comes_typed_and_is_not_repeated(api: Api) -> None:
    api.answers = [problem("MT4Error", managerCode="RET_TRADE_NO_MONEY", message="no money")]
    async with api.rest() as rest:
        with pytest.raises(cplugin.ApiError) as caught:
            await rest.call("POST", TRADE)
    refusal = caught.value
    assert (refusal.code, refusal.manager_code, refusal.description) == ("MT4Error", "RET_TRADE_NO_MONEY", "no money")
    assert (refusal.activity_id, refusal.request) == ("00-activity-01", f"POST {TRADE}")
    assert len(api.seen) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_401_costs_one_token_and_one_repeat_of_any_method(api: Api, method: str) -> None:
    async with api.rest() as rest:
        await rest.call(method, TIME)
        api.good.clear()
        assert (await rest.call(method, TIME)).data == "now"
    assert [seen.bearer for seen in api.seen] == ["planted-token-1", "planted-token-1", "planted-token-2"]
    assert len(api.tokens) == 2


async def test_many_401_at_once_cost_one_token(api: Api) -> None:
    async with api.rest() as rest:
        await rest.call("GET", TIME)
        api.good.clear()
        await asyncio.gather(*(rest.call("GET", TIME) for _ in range(10)))
    assert len(api.tokens) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_second_401_is_the_end(api: Api, method: str) -> None:
    api.answers = [web.Response(status=401)]
    async with api.rest() as rest:
        with pytest.raises(cplugin.ApiError) as caught:
            await rest.call(method, TIME)
    assert caught.value.verdict.level is Level.TOKEN
    assert len(api.seen) == 2


async def test_a_given_token_that_is_refused_is_a_persons_affair(api: Api) -> None:
    async with api.rest(access_token="planted-given", client_id="", client_secret=None) as rest:
        with pytest.raises(ReauthorizationRequired):
            await rest.call("POST", TRADE)
    assert [seen.bearer for seen in api.seen] == ["planted-given"]
    assert api.tokens == []


async def test_a_403_renews_nothing(api: Api) -> None:
    api.answers = [web.Response(status=403)]
    async with api.rest() as rest:
        with pytest.raises(cplugin.ApiError, match="lack the right"):
            await rest.call("GET", TIME)
    assert (len(api.seen), len(api.tokens)) == (1, 1)


async def test_the_bearer_never_follows_a_redirect(api: Api) -> None:
    async with Api(envelope("elsewhere")) as other:
        other.checks_tokens = False
        api.answers = [web.Response(status=307, headers={"Location": f"{other.base_url}/api/v2/x"})]
        async with api.rest() as rest:
            with pytest.raises(cplugin.ApiError, match="HTTP 307"):
                await rest.call("GET", TIME)
        assert other.seen == []
    assert len(api.seen) == 1


# --- repetitions ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [lost, web.Response(status=502), problem("NoConnect"), problem("Timeout"), problem("Internal")])
async def test_a_read_is_repeated_after_what_may_pass(api: Api, trouble: Any) -> None:
    api.answers = [trouble, envelope("now")]
    async with api.rest() as rest:
        assert (await rest.call("GET", TIME)).data == "now"
    assert len(api.seen) == 2


async def test_a_read_is_given_up_after_three_attempts(api: Api) -> None:
    api.answers = [lost]
    async with api.rest() as rest:
        with pytest.raises(DeadlineExceeded):
            await rest.call("GET", TIME)
    assert len(api.seen) == policy.CPLUGIN_ATTEMPTS


@pytest.mark.parametrize(
    "trouble", [lost, web.Response(status=504), problem("Internal"), problem("OutcomeUnknown"), web.Response(text="?")]
)
async def test_a_trade_whose_fate_is_not_known_is_not_repeated(api: Api, trouble: Any) -> None:
    api.answers = [trouble, envelope("done")]
    async with api.rest() as rest:
        with pytest.raises(OutcomeUnknown) as caught:
            await rest.call("POST", TRADE, body={"volume": 1})
        assert len(api.seen) == 1
        settled = await caught.value.settle()
    assert settled.data == "done"
    first, again = api.seen
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"]
    assert first.body == again.body


async def test_settling_ends_in_the_refusal_that_the_trade_ended_in(api: Api) -> None:
    api.answers = [lost, lost, problem("MT4Error")]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", TRADE)
        with pytest.raises(cplugin.ApiError):
            await caught.value.settle()
    assert len({seen.headers["Idempotency-Key"] for seen in api.seen}) == 1


async def test_under_the_callers_key_a_trade_is_repeated(api: Api) -> None:
    api.answers = [lost, web.Response(status=502), envelope("done")]
    async with api.rest() as rest:
        assert (await rest.call("POST", TRADE, idempotency_key="mine")).data == "done"
    assert [seen.headers["Idempotency-Key"] for seen in api.seen] == ["mine"] * 3


async def test_under_the_callers_key_it_is_unknown_when_no_attempt_was_answered(api: Api) -> None:
    api.answers = [lost]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", TRADE, idempotency_key="mine")
    assert caught.value.idempotency_key == "mine"
    assert len(api.seen) == policy.CPLUGIN_ATTEMPTS


UNTOLD = [web.Response(status=status) for status in (401, 403, 429, 503)] + [problem("Busy")]
"""What says nothing of an attempt that went before."""


@pytest.mark.parametrize("last", UNTOLD)
async def test_it_stays_unknown_whatever_becomes_of_the_attempts_behind_it(api: Api, last: Any) -> None:
    api.answers = [lost, last]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", TRADE, idempotency_key="mine")
    assert isinstance(caught.value.__cause__, cplugin.ApiError)


async def test_it_stays_unknown_when_nothing_can_be_sent_any_more(api: Api) -> None:
    async def last(request: web.Request) -> web.StreamResponse:
        for site in tuple(api._runner.sites):
            await site.stop()
        return await lost(request)

    api.answers = [last]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", TRADE, idempotency_key="mine")
    assert isinstance(caught.value.__cause__, NotSent)
    with pytest.raises(cplugin.CallUnknown):  # nor when the session is closed
        await caught.value.settle()


@pytest.mark.parametrize("last", UNTOLD)
async def test_what_cannot_be_settled_stays_unknown(api: Api, last: Any) -> None:
    api.answers = [lost, last]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", TRADE)
        with pytest.raises(cplugin.CallUnknown):
            await caught.value.settle()
        api.answers = [envelope("done")]
        assert (await caught.value.settle()).data == "done"


@pytest.mark.parametrize("options", [{}, {"idempotency_key": "mine"}])
async def test_v1_knows_no_keys_so_nothing_is_repeated_nor_settled(api: Api, options: dict[str, Any]) -> None:
    api.answers = [lost]
    async with api.rest() as rest:
        with pytest.raises(cplugin.CallUnknown) as caught:
            await rest.call("POST", "/API/MT4/{tradePlatform}/TradeTransaction", **options)
        with pytest.raises(cplugin.CallUnknown):
            await caught.value.settle()
    assert len(api.seen) == 1


@pytest.mark.parametrize("trouble", [problem("Busy"), web.Response(status=429), web.Response(status=503)])
async def test_a_trade_that_was_surely_not_begun_is_repeated(api: Api, trouble: Any) -> None:
    api.answers = [trouble, envelope("done")]
    async with api.rest() as rest:
        assert (await rest.call("POST", TRADE)).data == "done"
    assert len(api.seen) == 2


async def test_without_a_key_beside_it_not_even_that_is_believed(api: Api) -> None:
    api.answers = [web.Response(status=503), web.json_response("done")]
    async with api.rest() as rest:
        with pytest.raises(cplugin.ApiError, match="503"):
            await rest.call("POST", "/API/MT4/{tradePlatform}/TradeTransaction")
    assert len(api.seen) == 1


async def test_what_cannot_be_reached_is_not_sent(api: Api) -> None:
    async with api.rest() as rest:
        await rest.call("GET", TIME)
        await api._runner.cleanup()
        with pytest.raises(Unreachable):
            await rest.call("POST", TRADE)


async def test_the_deadline_covers_the_repetitions(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "CPLUGIN_RETRY_BASE", 1000.0)
    monkeypatch.setattr(policy, "CPLUGIN_RETRY_CAP", 1000.0)
    api.answers = [web.Response(status=503)]
    async with api.rest() as rest:
        with pytest.raises(cplugin.ApiError, match="503"):
            await rest.call("GET", TIME, timeout=30)
    assert len(api.seen) == 1


@pytest.mark.parametrize(("method", "error"), [("GET", DeadlineExceeded), ("POST", cplugin.CallUnknown)])
async def test_no_answer_within_the_deadline(api: Api, method: str, error: type[Exception]) -> None:
    released = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    api.answers = [never]
    async with api.rest() as rest:
        await rest._tokens.get()
        with pytest.raises(error, match=r"within 0\.\d+ s"):
            await rest.call(method, TIME, timeout=0.2)
        released.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_that_does_not_come_within_the_deadline_is_waited_for_no_longer(api: Api, method: str) -> None:
    class Never:
        async def get(self, min_ttl: float | None = None) -> Token | None:
            token: Token = await asyncio.get_running_loop().create_future()
            return token

        async def reject(self, token: Token) -> None:
            raise AssertionError("there is none")

    async with cplugin.open_rest(api.config(), Never()) as rest:
        with pytest.raises(NotSent, match="before there was a token"):
            await rest.call(method, TIME, timeout=0.01)
    assert api.seen == []


async def test_behind_the_end_nothing_is_sent(api: Api) -> None:
    async with api.rest() as rest:
        await rest.aclose()
        with pytest.raises(SessionClosed):
            await rest.call("GET", TIME)


async def test_each_attempt_that_was_sent_is_told(api: Api) -> None:
    api.answers = [lost, envelope("now"), problem("Validation")]
    records: list[Record] = []
    config = api.config()
    async with SessionManager() as manager, cplugin.open_rest(config, manager.tokens(config), hooks=[records.append]) as rest:
        await rest.call("GET", TIME)
        with pytest.raises(cplugin.ApiError):
            await rest.call("GET", TIME)
    told = [(record.source, record.request, record.outcome) for record in records if isinstance(record, RequestTimed)]
    assert told == [("cplugin rest", f"GET {TIME}", outcome) for outcome in ("DeadlineExceeded", "reply", "ApiError")]


# --- pages --------------------------------------------------------------------------------------------------------------------------------


def page(data: list[int], cursor: str | None) -> web.Response:
    return envelope(data, paging={"nextCursor": cursor, "hasMore": cursor is not None})


async def test_pages_come_until_there_are_no_more(api: Api) -> None:
    api.answers = [page([1, 2], "a"), page([3], "b"), page([], None)]
    async with api.rest() as rest:
        pages = [reply.data async for reply in rest.pages("/api/v2/MT4/{tradePlatform}/Users", limit=2, query={"group": "demo"})]
    assert pages == [[1, 2], [3], []]
    assert [dict(seen.query) for seen in api.seen] == [
        {"group": "demo", "limit": "2"},
        {"group": "demo", "limit": "2", "cursor": "a"},
        {"group": "demo", "limit": "2", "cursor": "b"},
    ]


async def test_a_cursor_that_does_not_move_ends_it(api: Api) -> None:
    api.answers = [page([1], "a"), page([1], "a")]
    async with api.rest() as rest:
        with pytest.raises(ProtocolError, match="to the same page"):
            async for _ in rest.pages("/api/v2/MT4/{tradePlatform}/Users"):
                pass
    assert len(api.seen) == 2


@pytest.mark.parametrize("paging", [{"hasMore": True}, {"hasMore": True, "nextCursor": None}, {"hasMore": True, "nextCursor": ""}])
async def test_a_list_that_goes_on_nobody_knows_where_is_not_taken_for_whole(api: Api, paging: dict[str, Any]) -> None:
    api.answers = [envelope([1], paging=paging)]
    async with api.rest() as rest:
        with pytest.raises(ProtocolError, match="there is more"):
            async for _ in rest.pages("/api/v2/MT4/{tradePlatform}/Users"):
                pass
    assert len(api.seen) == 1
