"""Every fault of bearers, negotiation, handshake and records, as a client meets it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.interop.hubs.raw import HANDSHAKE, RawHub, RawSocket, Record, call, done
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import CPluginSandbox

ROOM = 10.0
STATUS = {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]}


async def negotiation(raw: RawHub, query: str = "negotiateVersion=1", **bearer: str | None) -> tuple[int, Record]:
    status, _, body = await raw.request("POST", raw.server.hub().replace("?", f"/negotiate?{query}&"), **bearer)
    return status, json.loads(body) if body else {}


async def in_time(socket: RawSocket, sandbox: Sandbox, seconds: float) -> Record:
    """The record that comes after so long on the sandbox's clock, and not before; the clock runs on by itself, hence the room."""
    waiting = asyncio.create_task(socket.next())
    await sandbox.clock.advance(seconds - ROOM)
    assert not waiting.done()
    await sandbox.clock.advance(ROOM + 1)
    record = await waiting
    assert record is not None
    return record


# --- the bearer -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
async def test_the_bearer_is_taken_in_three_places_and_the_journal_says_where(server: CPluginSandbox, raw: RawHub, place: str) -> None:
    if place == "header":
        assert await raw.refusal() == (101, None)
    else:
        assert await raw.refusal(f"{place}={raw.bearer}", bearer=None) == (101, None)
    assert {name: count for name, count in server.journal.counts.items() if name.startswith("bearer")} == {f"bearer.{place}": 1}


async def test_the_next_bearers_are_refused(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.refuse_bearer = 1
    assert [(await negotiation(raw))[0] for _ in range(2)] == [401, 200]


async def test_every_bearer_is_refused(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.refuse_every_bearer = True
    assert [(await negotiation(raw))[0] for _ in range(3)] == [401] * 3
    assert (await raw.refusal())[0] == 401


async def test_a_connection_is_closed_when_its_bearer_ends(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    raw.bearer = server.issue(life=120)
    early = await raw.shaken()
    server.faults.close_at_expiry = True  # also for those that are open
    late = await raw.shaken()
    await sandbox.clock.advance(100)
    assert len(server.connections) == 2
    await sandbox.clock.advance(21)
    for socket in (early, late):
        assert (await socket.rest())[-1] == {"type": 7, "allowReconnect": True}
    assert server.connections == []


async def test_without_the_fault_the_end_of_a_bearer_changes_nothing(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    raw.bearer = server.issue(life=60)
    socket = await raw.shaken()
    await sandbox.clock.advance(minutes=10)
    assert await socket.answer(call("Echo", 1)) == done(result=1)


# --- negotiation and upgrade ----------------------------------------------------------------------------------------------------------


async def test_a_negotiation_fails_by_status_or_by_error(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.negotiate_error = "not today"
    assert await negotiation(raw) == (200, {"error": "not today"})
    server.faults.negotiate_status = 503
    assert await negotiation(raw) == (503, {})


async def test_a_negotiation_is_answered_in_another_version(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.negotiate_version = 7
    assert (await negotiation(raw))[1]["negotiateVersion"] == 7


async def test_a_negotiation_leads_on_as_often_as_is_said(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.negotiate_redirects = 3
    status, answer = await negotiation(raw)
    hops, address = 0, ""
    while "url" in answer:
        hops += 1
        raw.bearer = answer["accessToken"]
        address = answer["url"]
        _, _, body = await raw.request("POST", address.replace("?", "/negotiate?negotiateVersion=1&"))
        answer = json.loads(body)
    assert (status, hops) == (200, 3)
    socket = await raw.open(f"id={answer['connectionToken']}", url=address)
    await socket.send(HANDSHAKE, call("WhoAmI"))
    assert (await socket.next_of(3))["result"] == "redirected"


async def test_a_negotiation_leads_elsewhere_without_a_token(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.negotiate_redirect_to = "https://elsewhere.invalid/hub"
    server.faults.redirect_without_token = True
    platform = f"tradePlatform={server.trade_platform}"
    assert await negotiation(raw) == (200, {"url": f"https://elsewhere.invalid/hub?{platform}"})


async def test_websockets_are_not_offered(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.no_websockets = True
    offered = [one["transport"] for one in (await negotiation(raw))[1]["availableTransports"]]
    assert offered == ["ServerSentEvents", "LongPolling"]


async def test_ids_are_forgotten_between_negotiation_and_upgrade(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.lose_ids = True
    token = (await negotiation(raw))[1]["connectionToken"]
    assert (await raw.refusal(f"id={token}"))[0] == 404
    assert (await raw.refusal())[0] == 101


async def test_an_upgrade_is_refused_or_led_elsewhere(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.upgrade_redirect = f"{server.plain_url}/elsewhere"
    assert (await raw.refusal())[0] == 404  # this client follows
    server.faults.upgrade_status = 503
    assert (await raw.refusal())[0] == 503


async def test_an_id_that_nobody_uses_is_forgotten(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    token = (await negotiation(raw))[1]["connectionToken"]
    await sandbox.clock.advance(16)
    assert (await raw.refusal(f"id={token}"))[0] == 404


# --- the handshake --------------------------------------------------------------------------------------------------------------------


async def test_the_handshake_is_never_answered(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.no_handshake = True
    socket = await raw.open()
    await socket.send(HANDSHAKE)
    assert await in_time(socket, sandbox, 15) == {"error": "Handshake was canceled."}


async def test_the_handshake_is_refused(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.handshake_error = "not this protocol"
    socket = await raw.open()
    await socket.send(HANDSHAKE)
    assert await socket.rest() == [{"error": "not this protocol"}]


async def test_the_platform_is_refused(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.refuse_platform = True
    socket = await raw.open()
    await socket.send(HANDSHAKE)
    error = "Connection closed with an error. HubException: unknown trade platform"
    assert await socket.rest() == [{}, {"type": 7, "error": error}]


@pytest.mark.parametrize(("never", "messages"), [(False, 1), (True, 2)])
async def test_the_greeting_is_glued_to_the_handshake_or_not(server: CPluginSandbox, raw: RawHub, *, never: bool, messages: int) -> None:
    server.faults.never_glue = never
    socket = await raw.shaken()
    assert len(socket.messages) == messages


async def test_every_hub_takes_every_platform_unless_that_is_changed(server: CPluginSandbox, raw: RawHub) -> None:
    wrong = raw.server.hub("mt5_v2").replace(server.platforms[1].id, server.platforms[0].id)
    for strict in (False, True):
        server.settings.any_platform = not strict
        socket = await raw.open(url=wrong)
        await socket.send(HANDSHAKE)
        assert await socket.next() == {}
        record = await socket.next()
        assert record is not None
        assert record["type"] == (7 if strict else 1)


# --- messages and records -------------------------------------------------------------------------------------------------------------


async def test_records_are_held_and_leave_in_one_message(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.glue_frames, server.faults.no_pings = 20.0, True
    await socket.send(*(call("Echo", n, invocation_id=str(n)) for n in range(3)))
    assert await in_time(socket, sandbox, 20) == done("0", result=0)
    assert socket.messages[-1].count("\x1e") == 3


async def test_records_are_split_over_messages(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.split_frames = 7
    await socket.send(call("Echo", "abc"))
    pieces: list[str] = []
    while not pieces or not pieces[-1].endswith("\x1e"):
        pieces.append(await socket.socket.receive_str())
    assert {len(piece) for piece in pieces[:-1]} == {7}
    assert json.loads("".join(pieces)[:-1]) == done(result="abc")


async def test_text_comes_in_binary_messages(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.binary_frames = True
    await socket.send(call("Echo", "é"))
    assert json.loads((await socket.socket.receive_bytes())[:-1]) == done(result="é")


async def test_the_server_pings_after_a_silence(sandbox: Sandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    assert await in_time(socket, sandbox, 15) == {"type": 6}
    assert await in_time(socket, sandbox, 14) == {"type": 6}


async def test_the_server_does_not_ping(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.no_pings = True
    socket = await raw.shaken()
    await sandbox.clock.advance(minutes=5)
    assert await socket.answer(call("Echo", 1)) == done(result=1)
    assert not any('"type":6' in message for message in socket.messages)


async def test_a_client_that_pinged_and_fell_silent_is_dropped(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    never, once = await raw.shaken(), await raw.shaken()
    await once.send({"type": 6}, call("Echo", 1))
    await once.next_of(3)
    await sandbox.clock.advance(20)
    assert len(server.connections) == 2
    await sandbox.clock.advance(11)
    assert (await once.rest())[-1] == {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}
    assert await never.answer(call("Echo", 1)) == done(result=1)


async def test_a_hub_is_slow(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.slow_hub, server.faults.no_pings = 20.0, True
    socket = await raw.shaken()
    await socket.send(call("Echo", 1))
    assert await in_time(socket, sandbox, 20) == done(result=1)


async def test_a_call_that_lasts_too_long_fails(sandbox: Sandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send(call("Slow", 600_000))
    await socket.send(call("Nowhere", invocation_id="read"))
    await socket.next_of(3)
    await sandbox.clock.advance(61)
    assert await socket.next_of(3) == done(error="An unexpected error occurred invoking 'Slow' on the server.")


async def test_calls_get_no_answer(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.unanswered_calls = True
    await socket.send(call("Echo", 1, invocation_id="lost"))
    await socket.send({"type": 4, "invocationId": "2", "target": "Count", "arguments": [1, 0, -1]})
    assert (await socket.next_of(2))["item"] == 0
    server.faults.clear()
    assert await socket.answer(call("Echo", 2)) == done(result=2)


async def test_a_hub_falls_silent_and_hears_on(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.silent_hub = True
    await socket.send(call("Echo", 1, invocation_id="lost"))
    while not server.journal.counts["call.Echo"]:
        await asyncio.sleep(0)
    await sandbox.clock.advance(minutes=1)
    server.faults.clear()
    assert await socket.answer(call("Echo", 2)) == done(result=2)
    assert len(socket.messages) == 2


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        ("unknown-types", [{"type": 99, "novelty": True}, done(result=1)]),
        ("stray-completions", [done("nobody's", result=None), done(result=1)]),
        ("duplicate-completions", [done(result=1), done(result=1)]),
        ("unknown-members", [done(result=1, novelty={"of": ["nobody", 1, None]})]),
    ],
)
async def test_answers_have_company(server: CPluginSandbox, raw: RawHub, fault: str, answers: list[Record]) -> None:
    socket = await raw.shaken()
    server.faults.set(fault)
    await socket.send(call("Echo", 1))
    assert [await socket.next() for _ in answers] == answers


async def test_void_has_no_result(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.void_without_result = True
    assert await socket.answer(call("Slow", 0)) == done()
    assert await socket.answer(call("Echo", 0)) == done(result=0)


async def test_garbage_comes_in_place_of_an_answer(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.garbage_records = True
    await socket.send(call("Echo", 1))
    assert await socket.socket.receive_str() == "no JSON\x1e"


async def test_items_still_come_after_a_stream_was_cancelled(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.late_items = 2
    await socket.send(call("StreamTicks", "EURUSD", kind=4))
    await socket.answer(call("Echo", 1, invocation_id="begun"))
    await socket.send({"type": 5, "invocationId": "1"})
    late = {"type": 2, "invocationId": "1", "item": None}
    assert [await socket.next() for _ in range(3)] == [late, late, done()]


# --- things that happen once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "allow", "record"),
    [
        (None, False, {"type": 7}),
        (None, True, {"type": 7, "allowReconnect": True}),
        ("overload", False, {"type": 7, "error": "overload"}),
        ("overload", True, {"type": 7, "error": "overload", "allowReconnect": True}),
    ],
)
async def test_connections_are_closed(server: CPluginSandbox, raw: RawHub, error: str | None, *, allow: bool, record: Record) -> None:
    sockets = [await raw.shaken() for _ in range(2)]
    assert server.faults.close(error, allow_reconnect=allow) == 2
    for socket in sockets:
        assert await socket.rest() == [record]
        assert socket.socket.close_code == 1000
    assert [ending.cause for ending in server.journal.endings] == [error or "the server"] * 2


async def test_sockets_are_reset(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    assert server.faults.drop() == 1
    assert await socket.rest() == []
    assert socket.socket.close_code == 1006


async def test_any_record_can_be_sent_and_any_target_called(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.send({"type": 42})
    assert await server.push("OnNews", "a", 1, hub="mt4_v2") == 1
    assert await server.push("OnNews", hub="mt5_v2") == 0
    assert [await socket.next() for _ in range(2)] == [{"type": 42}, {"type": 1, "target": "OnNews", "arguments": ["a", 1]}]


async def test_the_link_to_the_platform_comes_and_goes(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.connect_platform(False)
    assert await socket.next() == {**STATUS, "arguments": [{"connected": False}]}
    late = await raw.open()
    await late.send(HANDSHAKE)
    assert [await late.next() for _ in range(2)] == [{}, {**STATUS, "arguments": [{"connected": False}]}]


# --- settings -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "kind"), [("number", 0), ("text", "Added")])
async def test_the_kind_of_an_update_is_a_number_or_a_text(sandbox: Sandbox, raw: RawHub, setting: str, kind: object) -> None:
    sandbox.cplugin.settings.kind = "text" if setting == "text" else "number"
    socket = await raw.shaken()
    await socket.send(call("StreamTrades", kind=4), call("Echo", 1, invocation_id="read"))
    await socket.next_of(3)
    await sandbox.clock.advance(1)
    assert (await socket.next_of(2))["item"]["kind"] == kind


async def test_ticks_come_in_batches(server: CPluginSandbox, raw: RawHub) -> None:
    server.settings.ticks_in_batches = True
    socket = await raw.shaken()
    await socket.answer(call("SubscribeToTicks", "EURUSD"))
    server.feed.tick()
    push = await socket.next_of(1)
    assert (push["target"], push["arguments"][0]["symbol"], len(push["arguments"][0]["ticks"])) == ("OnTicksBatch", "EURUSD", 1)


@pytest.mark.parametrize(("may", "types"), [(True, [2, 2, 2, 2]), (False, [3])])
async def test_the_arguments_may_be_left_out_or_not(server: CPluginSandbox, raw: RawHub, *, may: bool, types: list[int]) -> None:
    server.settings.arguments_may_be_left_out = may
    socket = await raw.shaken()
    await socket.send(call("StreamTicks", kind=4), call("Echo", 1, invocation_id="read"))
    if may:
        await socket.next_of(3)
        server.feed.tick()
    assert [(await socket.next_of(2, 3))["type"] for _ in types] == types
