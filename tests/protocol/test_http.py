"""HTTP requests and replies as plain values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ConfigurationError
from tradesession.protocol.http import HttpReply, HttpRequest, origin
from tradesession.secrets import Secret

DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
DATE_SECONDS = 1_767_225_600.0


def reply(**headers: str) -> HttpReply:
    return HttpReply(status=503, headers={name.replace("_", "-"): value for name, value in headers.items()}, sent_at=DATE_SECONDS)


def test_a_request_shows_where_it_goes_and_none_of_its_values() -> None:
    request = HttpRequest(
        method="GET",
        url="https://example.test/token?tenant=blue",
        query=(("refresh_token", Secret("planted-1")),),
        headers=(("Authorization", Secret("planted-2")),),
    )
    assert repr(request) == "<HttpRequest GET https://example.test/token?tenant=***>"
    assert request.secrets == (Secret("planted-1"), Secret("planted-2"))


def test_the_credentials_of_a_header_count_without_their_scheme_too() -> None:
    headers = (("Authorization", Secret("Basic planted")), ("Accept", "a b"))
    assert HttpRequest(method="GET", url="https://example.test/", headers=headers).secrets == (Secret("Basic planted"), Secret("planted"))


def test_the_secrets_of_a_body_count() -> None:
    request = HttpRequest(method="POST", url="https://example.test/", body=Secret("planted"))
    assert request.secrets == (Secret("planted"),)


def test_a_form_and_a_body_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"POST https://example.test/ has a form and a body"):
        HttpRequest(method="POST", url="https://example.test/", form=(("a", "b"),), body=Secret("x"))


def test_a_reply_shows_its_status_only() -> None:
    shown = repr(HttpReply(status=200, headers={"set-cookie": "planted"}, body=b"planted"))
    assert "200" in shown
    assert "planted" not in shown


@pytest.mark.parametrize(("status", "success"), [(199, False), (200, True), (204, True), (299, True), (300, False), (500, False)])
def test_only_the_two_hundreds_are_successes(status: int, success: bool) -> None:
    assert HttpReply(status=status).is_success is success


@pytest.mark.parametrize(
    ("status", "unclear"), [(200, False), (400, False), (408, True), (500, True), (502, True), (503, False), (504, True)]
)
def test_behind_a_failure_in_the_middle_an_order_may_have_been_executed(status: int, unclear: bool) -> None:
    assert HttpReply(status=status).is_unclear is unclear


def test_the_content_type_is_bare_and_in_lower_case() -> None:
    assert reply(content_type="Text/HTML; charset=utf-8").content_type == "text/html"
    assert reply().content_type == ""


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[1]", b'"text"', b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}"],
)
def test_what_is_no_json_object_is_none(body: bytes) -> None:
    assert HttpReply(status=200, body=body).json_object() is None


def test_an_object_that_came_whole_is_read_however_the_connection_ended_behind_it() -> None:
    body = b'{"accessToken": "a", "n": {"m": 1}}'
    assert HttpReply(status=200, body=body, damage="cut off").json_object() == {"accessToken": "a", "n": {"m": 1}}
    assert all(HttpReply(status=200, body=body[:length], damage="cut off").json_object() is None for length in range(len(body)))


def test_an_object_with_letters_of_another_encoding_is_read() -> None:
    body = '{"accessToken": "a", "description": "déjà vu"}'
    assert HttpReply(status=200, body=body.encode("latin-1")).json_object() == json.loads(body)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()))
def test_every_json_object_is_read(fields: dict[str, object]) -> None:
    assert HttpReply(status=200, body=json.dumps(fields).encode()).json_object() == fields


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    value = HttpReply(status=200, body=body).json_object()
    assert value is None or isinstance(value, dict)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("999999999999999999999999999", 600.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 600.0),
    ],
)
def test_retry_after_is_read_as_a_number_or_a_date_and_capped(asked: str, seconds: float) -> None:
    assert reply(retry_after=asked).retry_after(600.0) == seconds


@pytest.mark.parametrize("asked", ["", "soon", "-5", "1.5", "٣", "Thu, 99 Foo 2026 00:00:00 GMT", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(asked: str) -> None:
    assert reply(retry_after=asked).retry_after(600.0) is None


def test_a_retry_date_is_compared_with_the_servers_own_clock() -> None:
    assert reply(retry_after="Fri, 02 Jan 2026 00:00:10 GMT", date="Fri, 02 Jan 2026 00:00:00 GMT").retry_after(600.0) == 10.0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://openapi.ctrader.com/apps/token?a=b#c", "https://openapi.ctrader.com:443"),
        ("HTTPS://OpenAPI.cTrader.com:443", "https://openapi.ctrader.com:443"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://localhost/", "http://localhost:80"),
        ("https://[::1]:9/", "https://[::1]:9"),
    ],
)
def test_the_origin_has_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.test/token",
        "ftp://example.test/",
        "https://",
        "https:///path",
        "https://[::1/",
        "https://h:99999/",
        "https://h:x/",
        "https://exa\nmple.test/",
        "https://good.test\\@evil.test/",
        "https://bücher.test/",
        "https://a b/",
    ],
)
def test_what_is_no_http_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        origin(url)
    assert str(caught.value) == "a URL is needed that begins with https:// and a host name (http:// for loopback only)"
    assert caught.value.__context__ is None


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        origin("https://planted-user:planted-password@example.test/")
    assert "https://example.test/" in str(caught.value)
    assert "planted" not in str(caught.value)
