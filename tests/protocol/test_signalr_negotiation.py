"""Negotiation: what is asked, what every kind of answer means, and where the socket is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tradesession.errors import ConfigurationError, ProtocolError, Rejected
from tradesession.protocol.http import HttpReply
from tradesession.protocol.signalr.negotiation import (
    Negotiated,
    Redirected,
    hub_url,
    negotiation_request,
    read_negotiation,
    socket_url,
)
from tradesession.secrets import Secret
from tradesession.verdict import Action

WEBSOCKETS = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]


def answer(**members: Any) -> HttpReply:
    return HttpReply(status=200, body=json.dumps(members).encode())


# --- asking ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://example.com/hub", "https://example.com/hub"),
        ("wss://example.com/hub?a=b#c", "https://example.com/hub?a=b"),
        ("ws://127.0.0.1:5/hub", "http://127.0.0.1:5/hub"),
        ("http://localhost", "http://localhost/"),
    ],
)
def test_a_hub_is_addressed_as_http_however_it_was_written(given: str, taken: str) -> None:
    assert hub_url(given) == taken


@pytest.mark.parametrize(
    "url", ["", "hub", "ftp://example.com/hub", "https:///hub", "https://user:password@example.com/hub", "https://exämple.com/"]
)
def test_what_is_no_address_of_a_hub_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        hub_url(url)
    assert "password" not in str(caught.value).replace("a password", "")


@pytest.mark.parametrize(
    ("url", "asked", "query"),
    [
        ("https://a/hub", "https://a/hub/negotiate", {"negotiateVersion": "1"}),
        ("https://a/hub/", "https://a/hub/negotiate", {"negotiateVersion": "1"}),
        ("https://a/", "https://a/negotiate", {"negotiateVersion": "1"}),
        ("https://a/hub?tradePlatform=x", "https://a/hub/negotiate?tradePlatform=x", {"negotiateVersion": "1"}),
        ("https://a/hub?negotiateVersion=0", "https://a/hub/negotiate?negotiateVersion=0", {}),
    ],
)
def test_the_hubs_own_query_is_kept(url: str, asked: str, query: dict[str, str]) -> None:
    request = negotiation_request(url)
    assert (request.method, request.url, dict(request.query)) == ("POST", asked, query)


def test_stateful_reconnect_is_asked_for_and_headers_go_along() -> None:
    bearer = Secret("Bearer x")
    request = negotiation_request("https://a/hub", headers=(("Authorization", bearer),), stateful=True)
    assert dict(request.query) == {"negotiateVersion": "1", "useStatefulReconnect": "true"}
    assert request.headers == (("Authorization", bearer),)
    assert negotiation_request("https://a/hub?useStatefulReconnect=true", stateful=True).query == (("negotiateVersion", "1"),)


# --- answers --------------------------------------------------------------------------------------------------------------------------


def test_version_1_keeps_the_id_of_the_socket_apart_from_the_public_one() -> None:
    negotiated = read_negotiation(
        answer(
            negotiateVersion=1, connectionId="public", connectionToken="secret", availableTransports=WEBSOCKETS, useStatefulReconnect=True
        )
    )
    assert negotiated == Negotiated("public", Secret("secret"), stateful=True)
    assert "secret" not in repr(negotiated)


@pytest.mark.parametrize("version", [{}, {"negotiateVersion": 0}, {"negotiateVersion": "1"}])
def test_version_0_has_one_id_for_both(version: dict[str, Any]) -> None:
    negotiated = read_negotiation(answer(connectionId="one", connectionToken="not looked at", availableTransports=WEBSOCKETS, **version))
    assert negotiated == Negotiated("one", Secret("one"))


def test_redirects_come_with_or_without_a_token_and_win_over_everything_else() -> None:
    assert read_negotiation(answer(url="https://b/hub", accessToken="t", connectionId="x")) == Redirected("https://b/hub", Secret("t"))
    assert read_negotiation(answer(url="wss://b/hub?x=y", accessToken=None)) == Redirected("https://b/hub?x=y")


@pytest.mark.parametrize("members", [{"url": 1}, {"url": "https://b", "accessToken": 1}, {"url": "nowhere?access_token=shown"}])
def test_redirects_to_nowhere_are_errors(members: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="redirect") as caught:
        read_negotiation(answer(**members))
    assert "shown" not in str(caught.value)


def test_a_refusal_by_the_hub_has_its_words() -> None:
    with pytest.raises(Rejected, match=r"the negotiation was refused .*the hub is full") as caught:
        read_negotiation(answer(error="the hub is full"))
    assert caught.value.verdict.action is Action.RETRY


def test_the_old_signalr_is_told_apart() -> None:
    with pytest.raises(ConfigurationError, match=r"old ASP.NET SignalR"):
        read_negotiation(answer(ProtocolVersion="1.4", ConnectionId="x"))


@pytest.mark.parametrize(
    ("transports", "offered"),
    [
        (None, "none at all"),
        ([], "none at all"),
        (["WebSockets"], "none at all"),
        ([{"transport": "LongPolling", "transferFormats": ["Text"]}, {"transport": 1}], "it offers LongPolling"),
        ([{"transport": "WebSockets", "transferFormats": ["Binary"]}], "it offers WebSockets"),
        ([{"transport": "WebSockets", "transferFormats": "Text"}], "it offers WebSockets"),
    ],
)
def test_a_hub_without_text_over_websockets_is_refused(transports: object, offered: str) -> None:
    with pytest.raises(Rejected, match=offered) as caught:
        read_negotiation(answer(connectionId="x", availableTransports=transports))
    assert caught.value.verdict.action is Action.FATAL


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"connectionId": 1},
        {"connectionId": ""},
        {"negotiateVersion": 1, "connectionId": "x"},
        {"negotiateVersion": 1, "connectionToken": "x"},
    ],
)
def test_an_answer_without_a_connection_is_an_error(members: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="without a connection"):
        read_negotiation(answer(availableTransports=WEBSOCKETS, **members))


@pytest.mark.parametrize("reply", [HttpReply(status=200, body=b"<html>"), HttpReply(status=200, damage="more than 9 bytes")])
def test_an_answer_that_is_no_json_object_is_an_error(reply: HttpReply) -> None:
    with pytest.raises(ProtocolError, match=r"more than 9 bytes|no JSON object"):
        read_negotiation(reply)


# --- the socket -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("https://a/hub", "wss://a/hub?id=1%2F2&access_token=t"),
        ("http://127.0.0.1:5/hub?x=y", "ws://127.0.0.1:5/hub?x=y&id=1%2F2&access_token=t"),
    ],
)
def test_the_socket_is_where_the_hub_is(url: str, socket: str) -> None:
    assert socket_url(url, (("id", "1/2"), ("access_token", Secret("t")))) == socket


def test_a_socket_without_negotiation_has_the_hubs_own_query_alone() -> None:
    assert socket_url("https://a/hub?x=y", ()) == "wss://a/hub?x=y"
    assert socket_url("https://a/hub", ()) == "wss://a/hub"
