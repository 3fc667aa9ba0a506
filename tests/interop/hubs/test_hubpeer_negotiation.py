"""Rows of the observation sheet: negotiation, the socket, the handshake; as any client meets them."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from tests.interop.hubs.raw import HANDSHAKE, PATIENCE, RawHub, RawSocket, Record, text_of
from tests.interop.hubs.servers import HubServer, Servers

pytestmark = pytest.mark.interop

ID = re.compile(r"[A-Za-z0-9_-]{22}")
TRANSPORTS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]


async def until_closed(socket: RawSocket) -> tuple[list[Record], int | None]:
    records = await socket.rest()
    return records, socket.socket.close_code


# --- negotiation ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 7])
async def test_version_1_and_later_ones_give_two_ids(raw: RawHub, version: int) -> None:
    answer = await raw.negotiate(f"negotiateVersion={version}")
    assert ID.fullmatch(answer.pop("connectionId"))
    assert ID.fullmatch(answer.pop("connectionToken"))
    assert answer == {"negotiateVersion": 1, "availableTransports": TRANSPORTS}


async def test_without_a_version_there_is_one_id(raw: RawHub) -> None:
    answer = await raw.negotiate("")
    assert ID.fullmatch(answer.pop("connectionId"))
    assert answer == {"negotiateVersion": 0, "availableTransports": TRANSPORTS}


async def test_stateful_reconnect_is_named_where_it_is_offered(raw: RawHub, stateful_raw: RawHub) -> None:
    asked = "negotiateVersion=1&useStatefulReconnect=true"
    assert (await stateful_raw.negotiate(asked))["useStatefulReconnect"] is True
    assert "useStatefulReconnect" not in await raw.negotiate(asked)
    assert "useStatefulReconnect" not in await stateful_raw.negotiate()


async def test_negotiation_is_a_post(raw: RawHub) -> None:
    status, _, body = await raw.request("GET", raw.server.hub().replace("?", "/negotiate?"))
    assert (status, body) == (405, "")


@pytest.mark.parametrize(("bearer", "challenge"), [(None, "Bearer"), ("bad", 'Bearer error="invalid_token"')])
async def test_no_bearer_and_a_bad_one_are_told_apart(raw: RawHub, bearer: str | None, challenge: str) -> None:
    status, headers, body = await raw.request("POST", raw.server.hub().replace("?", "/negotiate?"), bearer=bearer)
    assert (status, headers["www-authenticate"], body) == (401, challenge, "")
    assert await raw.refusal(bearer=bearer) == (401, challenge)


@pytest.mark.parametrize("place", ["access_token", "signalr_token"])
async def test_the_bearer_may_stand_in_the_query(raw: RawHub, place: str) -> None:
    assert await raw.refusal(f"{place}={raw.bearer}", bearer=None) == (101, None)


async def test_a_redirect_has_a_url_and_a_token(raw: RawHub) -> None:
    answer = await raw.negotiate(prefix="/redirect")
    assert set(answer) == {"url", "accessToken"}
    assert answer["url"] == raw.server.hub()


# --- the socket -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_hub_wants_an_upgrade_or_an_id(raw: RawHub, method: str) -> None:
    status, _, body = await raw.request(method, raw.server.hub())
    assert (status, body) == (400, "Connection ID required")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_unknown_ids_are_unknown(raw: RawHub, method: str) -> None:
    status, _, body = await raw.request(method, raw.server.hub() + "&id=nobody")
    assert (status, body) == (404, "No Connection with that ID")


async def test_a_socket_wants_a_known_id_and_the_secret_one(raw: RawHub) -> None:
    answer = await raw.negotiate()
    assert (await raw.refusal("id=nobody"))[0] == 404
    assert (await raw.refusal(f"id={answer['connectionId']}"))[0] == 404
    assert (await raw.refusal(f"id={answer['connectionToken']}"))[0] == 101


async def test_an_id_has_one_socket_and_ends_with_it(raw: RawHub) -> None:
    query = f"id={(await raw.negotiate())['connectionToken']}"
    socket = await raw.shaken(query)
    assert (await raw.refusal(query))[0] == 409
    await socket.socket.close()
    seen = set()
    async with asyncio.timeout(PATIENCE):
        while (status := (await raw.refusal(query))[0]) != 404:
            seen.add(status)
    assert seen <= {409}


async def test_there_is_no_hub_elsewhere(raw: RawHub) -> None:
    status, _, body = await raw.request("POST", raw.server.base_url + "/hubs/none/negotiate?negotiateVersion=1")
    assert (status, body) == (404, "")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        await raw.open(url=raw.server.base_url + "/hubs/none")


# --- the handshake --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 0, 2])
async def test_the_handshake_is_accepted_and_the_greeting_follows_glued_or_not(raw: RawHub, version: int) -> None:
    socket = await raw.open()
    await socket.send({"protocol": "json", "version": version})
    assert await socket.next() == {}
    assert await socket.next() == {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]}
    assert socket.messages[0].startswith("{}\x1e")
    assert len(socket.messages) in (1, 2)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        ({"protocol": "json", "version": 3}, "The server does not support version 3 of the 'json' protocol."),
        ({"protocol": "xml", "version": 1}, "The protocol 'xml' is not supported."),
        ({"protocol": "messagepack", "version": 1}, "The protocol 'messagepack' is not supported."),
        ("no JSON", "An unexpected error occurred during connection handshake."),
        ({"type": 1, "target": "Echo", "arguments": [1]}, "An unexpected error occurred during connection handshake."),
    ],
)
async def test_another_beginning_is_refused(raw: RawHub, first: Record | str, error: str) -> None:
    socket = await raw.open()
    await socket.send(first)
    assert await until_closed(socket) == ([{"error": error}], 1000)


async def test_no_handshake_at_all_is_cancelled_in_time(servers: Servers) -> None:
    server = await servers.get("--handshake-timeout", "1")
    async with RawHub(server, (await server.token()).reveal()) as raw:
        socket = await raw.open()
        assert await until_closed(socket) == ([{"error": "Handshake was canceled."}], 1000)


async def test_a_call_in_the_message_of_the_handshake_is_served(raw: RawHub) -> None:
    socket = await raw.open()
    await socket.socket.send_str(text_of(HANDSHAKE, {"type": 1, "invocationId": "1", "target": "Echo", "arguments": [7]}))
    assert await socket.next() == {}
    assert await socket.next_of(3) == {"type": 3, "invocationId": "1", "result": 7}


async def test_a_hub_that_refuses_says_so_behind_the_handshake(refusing_server: HubServer) -> None:
    facts = refusing_server.facts
    async with RawHub(refusing_server, (await refusing_server.token()).reveal()) as raw:
        socket = await raw.open(url=refusing_server.hub().replace(facts["mt4_platform"], facts["mt5_platform"]))
        await socket.send(HANDSHAKE)
        records, code = await until_closed(socket)
    assert records[0] == {}
    assert records[1] == {"type": 7, "error": "Connection closed with an error. HubException: unknown trade platform"}
    assert (len(records), code) == (2, 1000)
