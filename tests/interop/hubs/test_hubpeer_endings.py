"""Rows of the observation sheet: endings, the server's own calls, stateful reconnect; as any client meets them."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.interop.hubs.raw import PATIENCE, RawHub, RawSocket, Record
from tests.interop.hubs.servers import HubServer, Servers

pytestmark = pytest.mark.interop


# --- endings --------------------------------------------------------------------------------------------------------------------------


async def test_an_aborted_connection_has_a_close_record_and_no_way_back(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send({"type": 1, "invocationId": "1", "target": "Abort", "arguments": []})
    assert [record for record in await socket.rest() if record["type"] == 7] == [{"type": 7}]
    assert socket.socket.close_code == 1000


async def test_a_goodbye_is_answered_with_the_same(raw: RawHub) -> None:
    socket = await raw.shaken()
    await socket.send({"type": 7})
    assert await socket.rest() == [{"type": 7}]
    assert socket.socket.close_code == 1000


async def shaken_with_a_short_token(server: HubServer) -> tuple[RawHub, RawSocket]:
    raw = RawHub(server, (await server.token()).reveal())
    return raw, await raw.shaken()


async def test_a_token_that_ends_closes_where_the_server_is_told_so(ending_server: HubServer) -> None:
    raw, socket = await shaken_with_a_short_token(ending_server)
    async with raw:
        assert await socket.rest() == [{"type": 7, "allowReconnect": True}]
        assert socket.socket.close_code == 1000


async def test_a_token_that_ends_does_nothing_where_it_is_not(servers: Servers) -> None:
    raw, socket = await shaken_with_a_short_token(await servers.get("--token-life", "4", "--keepalive", "0.5"))
    async with raw:
        while (await raw.refusal())[0] != 401:  # until it has ended, and a little longer
            await socket.next_of(6)
        for _ in range(3):
            await socket.next_of(6)
        assert (await socket.answer({"type": 1, "invocationId": "1", "target": "Echo", "arguments": [1]}))["result"] == 1


async def test_a_server_that_is_told_to_stop_breaks_the_socket(servers: Servers, server: HubServer) -> None:
    async with RawHub(server, (await server.token()).reveal()) as raw:
        socket = await raw.shaken()
        await servers.restart(server)
        assert await socket.rest() == []
        assert socket.socket.close_code == 1006


# --- the server's own calls -----------------------------------------------------------------------------------------------------------


async def asked(raw: RawHub, socket: RawSocket) -> tuple[Record, asyncio.Task[list[Record]]]:
    answers = asyncio.create_task(raw.server.ask("Ask", "why"))
    return await socket.next_of(1), answers


async def test_a_question_has_an_id_of_the_servers_own(raw: RawHub) -> None:
    socket = await raw.shaken()
    question, answers = await asked(raw, socket)
    assert question["invocationId"].startswith("s")
    assert (question["target"], question["arguments"]) == ("Ask", ["why"])
    await socket.send({"type": 3, "invocationId": question["invocationId"], "result": "because"})
    assert await answers == [{"result": "because"}]


async def test_an_error_fails_the_servers_call_with_its_text(raw: RawHub) -> None:
    socket = await raw.shaken()
    question, answers = await asked(raw, socket)
    await socket.send({"type": 3, "invocationId": question["invocationId"], "error": "no idea"})
    assert await answers == [{"error": "no idea"}]


async def test_a_client_that_goes_cancels_the_servers_call(raw: RawHub) -> None:
    socket = await raw.shaken()
    _, answers = await asked(raw, socket)
    await socket.socket.close()
    (answer,) = await answers
    assert re.fullmatch(r"Invocation canceled by the server\.|Connection '.*' disconnected\.", answer["error"])


async def gone(raw: RawHub, query: str) -> bool:
    """Whether no socket may go on with a connection; a server that is still about it says 409 for a moment."""
    async with asyncio.timeout(PATIENCE):
        while (status := (await raw.refusal(query))[0]) == 409:
            pass
    return status == 404


# --- stateful reconnect ---------------------------------------------------------------------------------------------------------------


async def test_replies_are_acknowledged_about_a_second_later(stateful_raw: RawHub) -> None:
    _, socket = await stateful_raw.stateful()
    await socket.send({"type": 6}, {"type": 1, "invocationId": "1", "target": "Echo", "arguments": [1]})
    assert await socket.next_of(8) == {"type": 8, "sequenceId": 1}


async def test_another_socket_goes_on_with_everything_unacknowledged(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.answer({"type": 1, "invocationId": "1", "target": "Echo", "arguments": [1]})
    await stateful_raw.server.drop()
    assert (await socket.rest(), socket.socket.close_code) == ([], 1006)
    again = await stateful_raw.open(query)
    await again.send({"type": 9, "sequenceId": 2}, {"type": 1, "invocationId": "2", "target": "Echo", "arguments": [2]})
    assert [await again.next() for _ in range(4)] == [
        {"type": 9, "sequenceId": 1},
        {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]},
        {"type": 3, "invocationId": "1", "result": 1},
        {"type": 3, "invocationId": "2", "result": 2},
    ]


async def test_an_orderly_close_is_not_resumed(stateful_raw: RawHub) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.socket.close()
    assert await gone(stateful_raw, query)


async def test_a_server_stops_sending_at_100_000_unacknowledged_bytes(stateful_raw: RawHub) -> None:
    _, socket = await stateful_raw.stateful()
    await socket.send({"type": 4, "invocationId": "1", "target": "Burst", "arguments": [5000]})
    size = 0
    while (record := await socket.next_of(2, 6, 8))["type"] == 2:
        size += len(json.dumps(record, separators=(",", ":"))) + 1
    assert 90_000 < size < 101_000
    await socket.send({"type": 8, "sequenceId": 500})
    assert (await socket.next_of(2))["type"] == 2


@pytest.mark.parametrize(
    "asked", [{"type": 4, "target": "Burst", "arguments": [5000]}, {"type": 1, "target": "Big", "arguments": [60_000]}]
)
async def test_a_client_that_acknowledges_nothing_is_closed_for_good_without_a_word(stateful_raw: RawHub, asked: Record) -> None:
    query, socket = await stateful_raw.stateful()
    await socket.send(*({**asked, "invocationId": str(number)} for number in range(3)))
    assert not [record for record in await socket.rest() if record["type"] == 7]
    assert socket.socket.close_code == 1000
    assert await gone(stateful_raw, query)
