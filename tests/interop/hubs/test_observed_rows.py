"""What the observation sheet leaves open, seen on the ASP.NET Core server since: each row holds there and for the sandbox's hubs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.interop.hubs.raw import BROKEN, FAILED, HANDSHAKE, UNEXPECTED, RawHub, RawSocket, Record, call, done, item, stream, text_of
from tests.interop.hubs.servers import Servers

STREAMING = "An error occurred on the server while streaming results."
STATUS = {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]}
MARK = {"type": 1, "invocationId": "mark", "target": "Echo", "arguments": ["mark"]}
SLOW = 150
"""Milliseconds of a call that others wait for."""
ENDLESS = 600_000
"""Milliseconds of one that nothing waits for: it ends with its connection."""


async def records(socket: RawSocket, count: int) -> list[Record]:
    """So many items and completions."""
    return [await socket.next_of(2, 3) for _ in range(count)]


async def until_the_mark(socket: RawSocket) -> list[Record]:
    """Items and completions up to the answer to MARK, which must have been sent."""
    seen: list[Record] = []
    while (record := await socket.next_of(2, 3, 7)) != done("mark", result="mark"):
        seen.append(record)
        if record["type"] == 7:
            break
    return seen


# --- what waits for what --------------------------------------------------------------------------------------------------------------


async def test_two_calls_may_have_one_id(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", SLOW), call("Echo", 2))
    assert await records(socket, 2) == [done(result=None), done(result=2)]


async def test_a_call_may_have_the_id_of_a_stream(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 2, ENDLESS, -1), call("Echo", 2))
    assert await records(socket, 1) == [done(result=2)]


async def test_a_stream_may_have_the_id_of_a_call_and_does_not_wait_for_it(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", ENDLESS), stream("Count", 1, 0, -1))
    assert await records(socket, 2) == [item(0), done()]


@pytest.mark.parametrize(
    ("behind", "answer"),
    [
        (call("Nowhere", invocation_id="2"), {"error": FAILED.format("Nowhere") + " HubException: Method does not exist."}),
        (call("Echo", invocation_id="2"), {"error": FAILED.format("Echo")}),
        (
            stream("Echo", 1, invocation_id="2"),
            {"error": "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."},
        ),
        (
            call("Sum", invocation_id="2"),
            {"error": UNEXPECTED.format("Sum") + " HubException: Client sent 0 stream(s), Hub method expects 1."},
        ),
    ],
    ids=["unknown method", "too few arguments", "stream of a call", "no upload"],
)
async def test_what_cannot_begin_is_refused_at_once(raw: RawHub, behind: Record, answer: Record) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", ENDLESS), behind)
    assert await records(socket, 1) == [done("2", **answer)]


async def test_the_plain_call_of_a_stream_waits_for_its_turn_to_be_refused(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", SLOW), call("Count", 1, 0, -1, invocation_id="2"))
    assert [record["invocationId"] for record in await records(socket, 2)] == ["1", "2"]


async def test_a_call_with_an_upload_does_not_wait(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", ENDLESS), call("Sum", invocation_id="2", streamIds=["u"]), item(3, "u"), done("u"))
    assert await records(socket, 1) == [done("2", result=3)]


async def test_a_call_that_asks_for_no_cancellation_is_not_cancelled(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", SLOW), call("Slow", 0, invocation_id="2"), {"type": 5, "invocationId": "2"})
    assert await records(socket, 2) == [done(result=None), done("2", result=None)]


# --- uploads --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        ([call("Sum", streamIds=["u"]), done("u", error="enough")], [done(error=UNEXPECTED.format("Sum") + " HubException: enough")]),
        (
            [stream("Mirror", streamIds=["u"]), item("a", "u"), done("u", error="enough")],
            [item("a"), done(error=f"{STREAMING} HubException: enough")],
        ),
        ([stream("Mirror", streamIds=["u"]), item(5, "u")], [done(error=f"{STREAMING} HubException: Failed to bind Stream message.")]),
        (
            [call("Echo", 1, streamIds=["u"])],
            [done(error=UNEXPECTED.format("Echo") + " HubException: Client sent 1 stream(s), Hub method expects 0.")],
        ),
        (
            [call("Sum", streamIds=["u", "v"])],
            [done(error=UNEXPECTED.format("Sum") + " HubException: Client sent 2 stream(s), Hub method expects 1.")],
        ),
    ],
    ids=["ended with an error", "in a stream", "an item that does not fit", "nobody wants it", "one too many"],
)
async def test_an_upload_that_goes_wrong_fails_its_call(raw: RawHub, sent: list[Record], answers: list[Record]) -> None:
    socket = await raw.shaken()
    await socket.send(*sent)
    assert await records(socket, len(answers)) == answers


async def test_an_upload_and_a_stream_go_at_once(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Mirror", streamIds=["u"]), item("a", "u"))
    assert await records(socket, 1) == [item("a")]
    await socket.send(item("b", "u"), done("u"))
    assert await records(socket, 2) == [item("b"), done()]


# --- records --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"type": 1, "invocationId": "1", "target": "Echo", "arguments": None},
        {"type": 1, "invocationId": "1", "target": None, "arguments": [1]},
        {"type": 1, "invocationId": "1", "arguments": [1]},
        {"type": 1, "invocationId": None, "target": "Echo", "arguments": [1]},
        {"type": 4, "target": "Count", "arguments": [1, 0, -1]},
        {"type": "1", "target": "Echo", "arguments": [1]},
        '{"type":1.0,"target":"Echo","arguments":[1]}',
        {"type": None},
        {"type": 99_999_999_999},
        "[1]",
        call("Echo", 1, headers=[1]),
        call("Echo", 1, headers={"a": 1}),
        call("Echo", 1, streamIds="u"),
        call("Echo", 1, streamIds=[1]),
        {"type": 2, "invocationId": "1"},
        {"type": 2, "item": 1},
        {"type": 3, "invocationId": "1", "result": 1, "error": "x"},
        {"type": 3, "invocationId": "1", "error": 5},
        {"type": 3},
        {"type": 5},
        {"type": 7, "error": 5},
        {"type": 8},
        {"type": 9, "sequenceId": "x"},
        '/* a comment */{"type":6}',
        '{"type":6,}',
        '\ufeff{"type":6}',
        '{"type":1,"invocationId":"1","target":"Echo","arguments":[NaN]}',
    ],
    ids=str,
)
async def test_these_too_end_the_connection(raw: RawHub, broken: Record | str) -> None:
    socket = await raw.shaken()
    await socket.send(broken)
    assert await socket.rest() == [BROKEN]
    assert socket.socket.close_code == 1000


@pytest.mark.parametrize(
    "harmless",
    [' {"type":6} ', '{"type":6} and more', {"type": 6, "novelty": {"of": [1]}}, call("Echo", 1, invocation_id="")],
    ids=["spaces", "text behind the object", "unknown members", "an empty id"],
)
async def test_these_pass_without_an_answer(raw: RawHub, harmless: Record | str) -> None:
    socket = await raw.shaken()
    await socket.send(harmless, MARK)
    assert await until_the_mark(socket) == []


async def test_an_empty_message_passes(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.socket.send_str("")
    await socket.send(MARK)
    assert await until_the_mark(socket) == []


@pytest.mark.parametrize("kind", [0, -1, 10])
async def test_a_type_beside_the_known_ones_makes_the_server_deaf(quick_raw: RawHub, kind: int) -> None:
    socket = await quick_raw.shaken()
    await socket.send({"type": kind}, MARK)
    await socket.send({"type": 7})
    assert [await socket.next() for _ in range(2)] == [{"type": 6}] * 2


async def test_a_deaf_server_hangs_up_when_more_waits_than_a_record_may_have(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send({"type": 99})
    await socket.send(call("Echo", "x" * 32_768))
    assert await socket.rest() == [BROKEN]


# --- JSON -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", ["1.0", "1.10", "0.1", "1e5", "1E5", "123456789012345678901234567890", "-0", "-0.0", "1.5e-10"])
async def test_numbers_come_back_digit_by_digit(raw: RawHub, digits: str) -> None:
    socket = await raw.shaken()
    await socket.socket.send_str(f'{{"type":1,"invocationId":"1","target":"Echo","arguments":[{digits}]}}\x1e')
    await socket.next_of(3)
    assert socket.messages[-1] == f'{{"type":3,"invocationId":"1","result":{digits}}}\x1e'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x00\x08\t\n\f\r\x1f\x7f\x85", r"\u0000\b\t\n\f\r\u001F\u007F\u0085"),
        ("/'+`<>&", "/'+`<>&"),
        ('"\\', r"\"\\"),
        ("\xa0\u2003\u2028\u2029", r"\u00A0\u2003\u2028\u2029"),
        ("\u200b\xad", "\u200b\xad"),
        ("\ufeff\ue000", r"\uFEFF\uE000"),
        ("é中ß", "é中ß"),
    ],
    ids=["controls", "marks", "quotes", "spaces", "invisible", "private", "letters"],
)
async def test_texts_are_escaped_like_this(raw: RawHub, text: str, written: str) -> None:
    socket = await raw.shaken()
    await socket.send(call("Echo", text))
    await socket.next_of(3)
    assert socket.messages[-1] == f'{{"type":3,"invocationId":"1","result":"{written}"}}\x1e'


# --- the handshake --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "error"),
    [
        ({"protocol": "json"}, "An unexpected error occurred during connection handshake."),
        ({"version": 1}, "An unexpected error occurred during connection handshake."),
        ({"protocol": "json", "version": "1"}, "An unexpected error occurred during connection handshake."),
        ({"protocol": None, "version": 1}, "An unexpected error occurred during connection handshake."),
        ("", "An unexpected error occurred during connection handshake."),
        ("[]", "An unexpected error occurred during connection handshake."),
        ({"protocol": "xml", "version": 3}, "The protocol 'xml' is not supported."),
    ],
    ids=str,
)
async def test_a_handshake_that_is_none(raw: RawHub, first: Record | str, error: str) -> None:
    socket = await raw.open()
    await socket.send(first)
    assert await socket.rest() == [{"error": error}]
    assert socket.socket.close_code == 1000


@pytest.mark.parametrize(
    "first", [{"protocol": "JSON", "version": 1}, {**HANDSHAKE, "more": 1}, {"protocol": "json", "version": -1}], ids=str
)
async def test_a_handshake_that_is_one(raw: RawHub, first: Record) -> None:
    socket = await raw.open()
    await socket.send(first)
    assert [await socket.next() for _ in range(2)] == [{}, STATUS]


async def test_a_handshake_may_come_in_two_messages(raw: RawHub) -> None:
    socket = await raw.open()
    whole = text_of(HANDSHAKE)
    await socket.socket.send_str(whole[:9])
    await socket.socket.send_str(whole[9:])
    assert [await socket.next() for _ in range(2)] == [{}, STATUS]


async def test_a_handshake_without_an_end_is_given_up(raw: RawHub) -> None:
    socket = await raw.open()
    await socket.socket.send_str("x" * 40_000)
    assert await socket.rest() == [{"error": "Handshake was canceled."}]


# --- negotiation and the socket -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "error"),
    [
        ("x", "The client requested a non-integer protocol version."),
        ("-1", "The client requested version '-1', but the server does not support this version."),
    ],
)
async def test_a_version_that_is_none_is_refused_inside_a_200(raw: RawHub, version: str, error: str) -> None:
    url = raw.server.hub().replace("?", f"/negotiate?negotiateVersion={version}&")
    status, _, body = await raw.request("POST", url)
    assert (status, json.loads(body)) == (200, {"error": error})


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/HUBS/MT4/V2", 400, "Connection ID required"),
        ("DELETE", "/hubs/mt4/v2", 400, "Connection ID required"),
        ("PUT", "/hubs/mt4/v2", 405, ""),
        ("OPTIONS", "/hubs/mt4/v2/negotiate", 405, ""),
        ("GET", "/", 404, ""),
        ("GET", "/api/none", 404, ""),
    ],
)
async def test_other_requests(raw: RawHub, method: str, path: str, status: int, body: str) -> None:
    answered, _, text = await raw.request(method, raw.server.base_url + path)
    assert (answered, text) == (status, body)


async def test_the_challenge_of_a_token_that_is_too_old_is_that_of_a_bad_one(servers: Servers) -> None:
    server = await servers.get("--token-life", "1")
    async with RawHub(server, (await server.token()).reveal()) as raw:
        async with asyncio.timeout(60):
            while (await raw.request("GET", server.hub()))[0] != 401:
                await asyncio.sleep(0.05)
        assert await raw.refusal() == (401, 'Bearer error="invalid_token"')


# --- stateful reconnect ---------------------------------------------------------------------------------------------------------------


async def break_off(raw: RawHub, socket: RawSocket) -> None:
    await raw.server.drop()
    await socket.rest()


async def test_the_server_goes_on_before_the_client_has_said_anything(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.answer(call("Echo", 1))
    await break_off(stateful_raw, socket)
    again = await stateful_raw.open(query)
    assert [await again.next() for _ in range(3)] == [{"type": 9, "sequenceId": 1}, STATUS, done(result=1)]


async def test_what_is_acknowledged_is_not_sent_again(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.answer(call("Echo", 1))
    await socket.send({"type": 8, "sequenceId": 1})
    await socket.answer(call("Echo", 2))
    await break_off(stateful_raw, socket)
    again = await stateful_raw.open(query)
    assert [await again.next() for _ in range(3)] == [{"type": 9, "sequenceId": 2}, done(result=1), done(result=2)]


async def test_what_the_client_sends_again_is_served_once(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.answer(call("Echo", 1))
    await socket.answer(call("Echo", 2))
    await break_off(stateful_raw, socket)
    again = await stateful_raw.open(query)
    await again.send({"type": 9, "sequenceId": 1}, call("Echo", 1), call("Echo", 2), call("Echo", 3))
    assert [await again.next_of(3, 9) for _ in range(4)] == [{"type": 9, "sequenceId": 1}, done(result=1), done(result=2), done(result=3)]
    await again.send(MARK)
    assert await until_the_mark(again) == []


async def test_a_number_that_is_too_great_ends_the_connection(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await break_off(stateful_raw, socket)
    again = await stateful_raw.open(query)
    await again.send({"type": 9, "sequenceId": 9})
    assert (await again.rest())[-1] == BROKEN


async def test_a_new_socket_takes_the_place_of_one_that_lives(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    again = await stateful_raw.open(query)
    assert await again.next() == {"type": 9, "sequenceId": 1}
    assert await socket.rest() == []
    assert socket.socket.close_code == 1006


async def test_version_1_of_the_handshake_is_not_resumed(stateful_raw: RawHub) -> None:
    query = f"id={(await stateful_raw.negotiate('negotiateVersion=1&useStatefulReconnect=true'))['connectionToken']}"
    socket = await stateful_raw.shaken(query)
    await break_off(stateful_raw, socket)
    async with asyncio.timeout(60):
        while (status := (await stateful_raw.refusal(query))[0]) == 409:
            pass
    assert status == 404


# --- CPlugin's hubs -------------------------------------------------------------------------------------------------------------------

TRADE_MEMBERS = """kind order login symbol cmd volumeLots openPrice openTime sl tp closePrice closeTime commission storage profit taxes
    comment"""
SYMBOL_MEMBERS = """kind symbol description currency digits tradeMode spread stopsLevel freezeLevel contractSize tickValue tickSize
    marginInitial marginMaintenance"""
TICK = {"symbol": str, "bid": (int, float), "ask": (int, float), "lastTime": str}


def shape(payload: dict[str, Any]) -> set[str]:
    return set(payload)


@pytest.mark.parametrize(
    ("method", "members"),
    [
        ("StreamTrades", TRADE_MEMBERS),
        (
            "StreamUserUpdates",
            "kind login group name country leverage balance credit enabled readOnly regDate lastDate email phone comment",
        ),
        ("StreamSymbolUpdates", SYMBOL_MEMBERS),
        (
            "StreamMarginCallUpdates",
            "login group leverage updated balance equity volumeLots margin free level controllingType levelType",
        ),
    ],
)
async def test_the_streams_of_mt4(raw: RawHub, method: str, members: str) -> None:
    socket = await raw.shaken()
    await socket.send(stream(method))
    for record in await records(socket, 2):
        assert shape(record["item"]) == set(members.split())


@pytest.mark.parametrize("symbol", ["EURUSD", None])
async def test_the_stream_of_ticks(raw: RawHub, symbol: str | None) -> None:
    socket = await raw.shaken()
    await socket.send(stream("StreamTicks", symbol))
    ticks = [record["item"] for record in await records(socket, 8)]
    assert all(isinstance(tick[name], kind) for tick in ticks for name, kind in TICK.items())  # type: ignore[arg-type]
    assert {tick["symbol"] for tick in ticks} == ({symbol} if symbol else {"EURUSD", "GBPUSD", "USDJPY", "XAUUSD"})
    assert all(tick["bid"] < tick["ask"] for tick in ticks)


async def test_subscribed_ticks_are_pushed_until_they_are_not_wanted(raw: RawHub) -> None:
    socket = await raw.shaken()
    assert await socket.answer(call("SubscribeToTicks", "EURUSD")) == done(result=None)
    push = await socket.next_of(1)
    assert (push["target"], push["arguments"][0]["symbol"], len(push["arguments"])) == ("OnTick", "EURUSD", 1)
    assert await socket.answer(call("UnsubscribeFromTicks", "EURUSD")) == done(result=None)
    assert await socket.answer(call("SubscribeToTicks", "NOPE")) == done(
        error=UNEXPECTED.format("SubscribeToTicks") + " HubException: unknown symbol NOPE"
    )


async def test_a_stream_of_an_unknown_symbol_fails(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("StreamTicks", "NOPE"))
    assert await records(socket, 1) == [done(error=f"{STREAMING} HubException: unknown symbol NOPE")]


async def test_the_hub_of_mt5(raw: RawHub) -> None:
    socket = await raw.shaken(hub="mt5_v2")
    margin_call = await socket.next_of(1)
    assert (margin_call["target"], shape(margin_call["arguments"][0])) == ("OnMarginCall", {"login", "type", "direction"})
    await socket.send(stream("StreamMarginCallUpdates"), call("SubscribeToTicks", "EURUSD", invocation_id="2"))
    assert shape((await socket.next_of(2))["item"]) == {"login", "type", "direction"}
    push = await socket.next_of(1)
    assert (push["target"], shape(push["arguments"][0])) == ("OnTick", {"symbol", "bid", "ask", "last", "lastTime", "volumeExt", "flags"})


async def test_the_older_hub_has_the_platform_in_its_calls(raw: RawHub) -> None:
    socket = await raw.shaken(hub="mt4_v1")
    platform = raw.server.facts["mt4_platform"]
    assert await socket.answer(call("Connect", platform)) == done(result=True)
    assert await socket.answer(call("Ping", raw.server.facts["mt5_platform"])) == done(result=False)
    assert await socket.answer(call("Ping", "no GUID")) == done(error=FAILED.format("Ping"))
    assert await socket.answer(call("SubscribeToTicks", platform, "EURUSD")) == done(result=None)
    push = await socket.next_of(1)
    assert (push["target"], push["arguments"][0], shape(push["arguments"][1])) == ("onTick", platform, {"Symbol", "Bid", "Ask"})


async def test_who_one_is(raw: RawHub) -> None:
    assert (await (await raw.shaken()).answer(call("WhoAmI")))["result"] == raw.server.facts["client_id"]
