"""Rows of the observation sheet: calls, streams, uploads, bad records; as any client meets them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.interop.hubs.raw import BROKEN, FAILED, UNEXPECTED, RawHub, RawSocket, Record, call, done, item, stream, text_of

pytestmark = pytest.mark.interop


# --- calls ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (call("Echo", {"a": [1, 2.5, "x"]}), {"a": [1, 2.5, "x"]}),
        (call("Echo", None), None),
        (call("Slow", 0), None),
        (call("eCHO", 1), 1),
        (call("Optional", None, 3), "/3"),
        (call("Echo", 1, headers={"trace": "x"}), 1),
    ],
    ids=["result", "null", "void is null too", "any case", "null for a text", "with headers"],
)
async def test_a_result(raw: RawHub, record: Record, result: object) -> None:
    assert await (await raw.shaken()).answer(record) == done(result=result)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (call("Nowhere"), FAILED.format("Nowhere") + " HubException: Method does not exist."),
        (call("Echo"), FAILED.format("Echo")),
        (call("Echo", 1, 2), FAILED.format("Echo")),
        (call("Slow", "soon"), FAILED.format("Slow")),
        (call("Slow", None), FAILED.format("Slow")),
        (call("Fail"), UNEXPECTED.format("Fail")),
        (call("FailOpenly"), UNEXPECTED.format("FailOpenly") + " HubException: a hub exception"),
        (
            call("Count", 1, 0, -1),
            "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
        ),
        (stream("Echo", 1), "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."),
    ],
    ids=[
        "unknown",
        "too few",
        "too many",
        "wrong",
        "null for a number",
        "exception",
        "HubException",
        "call of a stream",
        "stream of a call",
    ],
)
async def test_an_error(raw: RawHub, record: Record, error: str) -> None:
    assert await (await raw.shaken()).answer(record) == done(error=error)


@pytest.mark.parametrize("target", ["Echo", "Fail", "Nowhere"])
async def test_a_call_without_an_id_is_answered_by_nothing(raw: RawHub, target: str) -> None:
    socket = await raw.shaken()
    await socket.send({"type": 1, "target": target, "arguments": []}, call("Echo", 2, invocation_id="after"))
    assert await socket.next_of(3, 7) == done("after", result=2)


async def test_a_second_call_waits_for_the_first(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", 200, invocation_id="slow"), call("Echo", 1, invocation_id="quick"))
    assert [(await socket.next_of(3))["invocationId"] for _ in range(2)] == ["slow", "quick"]


async def test_streams_do_not_hold_up_calls(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 1000, 50, -1, invocation_id="stream"), call("Echo", 1, invocation_id="call"))
    assert (await socket.next_of(3))["invocationId"] == "call"


async def test_a_running_call_may_be_cancelled_and_is_answered_all_the_same(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", 200))
    assert await socket.answer({"type": 5, "invocationId": "1"}) == done(result=None)


@pytest.mark.parametrize("way", ["members in another order", "binary frame", "split over two messages", "two records in one"])
async def test_records_may_come_as_they_like(raw: RawHub, way: str) -> None:
    socket = await raw.shaken()
    record = call("Echo", 5)
    whole = text_of(dict(reversed(record.items())) if way == "members in another order" else record)
    if way == "binary frame":
        await socket.socket.send_bytes(whole.encode())
    elif way == "split over two messages":
        await socket.socket.send_str(whole[:10])
        await socket.socket.send_str(whole[10:])
    else:
        await socket.socket.send_str(whole + (text_of({"type": 6}) if way == "two records in one" else ""))
    assert await socket.next_of(3) == done(result=5)


async def test_a_long_reply_comes_in_one_message(raw: RawHub) -> None:
    socket = await raw.shaken()
    assert len((await socket.answer(call("Big", 100_000)))["result"]) == 100_000
    assert len(socket.messages[-1]) > 100_000


async def test_replies_keep_the_digits_and_escape_what_is_no_plain_text(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.socket.send_str('{"type":1,"invocationId":"1","target":"Echo","arguments":[[1.10,1e300]]}\x1e')
    await socket.next_of(3)
    assert '"result":[1.10,1e300]' in socket.messages[-1]
    text = "é<>& \u2028 \U0001f600 \x01\x1e"
    assert (await socket.answer(call("Echo", text)))["result"] == text
    assert socket.messages[-1].split('"result":')[1].startswith('"é<>& \\u2028 \\uD83D\\uDE00 \\u0001\\u001E"')


# --- streams --------------------------------------------------------------------------------------------------------------------------


async def items_and_end(socket: RawSocket) -> list[Record]:
    records = [await socket.next_of(2, 3)]
    while records[-1]["type"] == 2:
        records.append(await socket.next_of(2, 3))
    return records


async def test_a_stream_ends_without_a_result(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 3, 0, -1))
    assert await items_and_end(socket) == [item(0), item(1), item(2), done()]


async def test_a_stream_fails_with_its_text(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 3, 0, 1))
    error = "An error occurred on the server while streaming results. HubException: failed at 1"
    assert await items_and_end(socket) == [item(0), done(error=error)]


async def test_a_cancelled_stream_ends_without_a_result(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 1000, 5, -1))
    await socket.next_of(2)
    await socket.send({"type": 5, "invocationId": "1"})
    assert (await items_and_end(socket))[-1] == done()


@pytest.mark.parametrize(
    "record",
    [{"type": 5, "invocationId": "9"}, item(1, "9"), done("9"), {"type": 8, "sequenceId": 1}, {"type": 9, "sequenceId": 1}],
    ids=["cancel", "item", "completion", "ack", "sequence"],
)
async def test_what_belongs_to_nothing_is_ignored(raw: RawHub, record: Record) -> None:
    socket = await raw.shaken()
    await socket.send(record)
    assert await socket.answer(call("Echo", 1)) == done(result=1)


async def test_a_live_id_is_not_given_twice(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(stream("Count", 30, 5, -1), stream("Count", 3, 0, -1))
    records = [await socket.next_of(2, 3) for _ in range(32)]
    assert done(error="Invocation ID '1' is already in use.") in records
    assert [record["item"] for record in records if record["type"] == 2] == list(range(30))
    assert records[-1] == done()


# --- uploads --------------------------------------------------------------------------------------------------------------------------


async def test_an_upload_is_summed_up(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Sum", streamIds=["u"]), item(1, "u"), item(2, "u"))
    assert await socket.answer(done("u")) == done(result=3)


@pytest.mark.parametrize(
    ("records", "error"),
    [
        ([call("Sum", streamIds=["u"]), done("u", error="enough")], "An unexpected error occurred invoking 'Sum' on the server."),
        (
            [call("Sum", streamIds=["u"]), item("no number", "u")],
            "An unexpected error occurred invoking 'Sum' on the server. HubException: Failed to bind Stream message.",
        ),
        (
            [call("Sum")],
            "An unexpected error occurred invoking 'Sum' on the server. HubException: Client sent 0 stream(s), Hub method expects 1.",
        ),
    ],
    ids=["ended with an error", "an item that does not fit", "no upload at all"],
)
async def test_an_upload_goes_wrong(raw: RawHub, records: list[Record], error: str) -> None:
    socket = await raw.shaken()
    await socket.send(*records)
    assert (await socket.next_of(3))["error"].startswith(error)


# --- bad records ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        "no JSON",
        "",
        {"target": "Echo", "arguments": []},
        {"type": 1, "invocationId": "1", "target": "Echo"},
        {**call("Echo", 1), "invocationId": 1},
        call("Echo", "x" * 32_768),
        json.dumps(call("Echo", json.loads("[" * 63 + "]" * 63))),
        '{"type":1,"invocationId":"1","target":"Echo","arguments":["\\ud800"]}',
    ],
    ids=["no JSON", "empty", "no type", "no arguments", "a number for an id", "over the limit", "nested too deep", "half a surrogate pair"],
)
async def test_a_broken_record_ends_the_connection(raw: RawHub, record: Record | str) -> None:
    socket = await raw.shaken()
    await socket.send(record)
    assert await socket.rest() == [BROKEN]
    assert socket.socket.close_code == 1000


async def test_the_limit_is_a_whole_record_with_its_end(raw: RawHub) -> None:
    socket = await raw.shaken()
    room = 32_768 - len(text_of(call("Echo", "")))
    assert len((await socket.answer(call("Echo", "x" * room)))["result"]) == room


async def test_an_unknown_type_makes_the_server_deaf(quick_raw: RawHub) -> None:
    socket = await quick_raw.shaken()
    await socket.send({"type": 99}, call("Echo", 1))
    await socket.send({"type": 7})
    seen = [await socket.next() for _ in range(3)]
    assert seen == [{"type": 6}] * 3


async def test_the_server_pings_and_a_silent_client_stays_until_it_has_pinged(quick_raw: RawHub) -> None:
    silent, once = await quick_raw.shaken(), await quick_raw.shaken()
    await once.send({"type": 6})
    began = asyncio.get_running_loop().time()
    *pings, last = await once.rest()
    assert all(ping == {"type": 6} for ping in pings)
    assert (last, once.socket.close_code) == (BROKEN, 1000)
    assert asyncio.get_running_loop().time() - began > 1.9
    await silent.next_of(6)
    assert await silent.answer(call("Echo", 1)) == done(result=1)
