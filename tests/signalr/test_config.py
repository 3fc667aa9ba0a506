"""What can be said of a hub, and what cannot be meant."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tradesession import signalr
from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret

URL = "https://example.com/hubs/chat?access_token=shown"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bearer_in": "cookie"}, "'cookie' is no place for a bearer; there are header, access_token, signalr_token"),
        ({"call_timeout": 0}, "call_timeout=0 must be above 0"),
        ({"overlap": -1}, "overlap=-1 must be above 0"),
        ({"connect_timeout": float("nan")}, "connect_timeout=nan must be above 0"),
        ({"ping_interval": 30}, "ping_interval=30 must be above 0 and below server_timeout=30"),
        ({"ping_interval": 0}, "ping_interval=0 must be above 0"),
        ({"send_limit": 0}, "send_limit=0 leaves no room; the default is 32768"),
        ({"parallel": 0}, "parallel=0 leaves no room; the default is 1"),
        ({"max_redirects": -1}, "max_redirects=-1 is no number of redirects"),
        ({"ca_file": "ca.pem", "ssl_context": ssl.create_default_context()}, "ca_file or ssl_context, not both"),
        ({"url": "ftp://example.com"}, "begins with https://"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        signalr.Config(**{"url": URL, **options})
    assert said in str(caught.value)


def test_the_address_may_hold_a_secret_and_shows_none() -> None:
    config = signalr.Config(URL, headers={"X-Key": Secret("secret-key")})
    assert config.name == "hub /hubs/chat"
    for text in (str(config), repr(config)):
        assert "shown" not in text
        assert "secret-key" not in text
    assert config.url == URL


def test_an_option_may_be_changed_and_is_checked_again() -> None:
    config = signalr.Config("wss://example.com/hub").replace(name="mine", send_limit=None)
    assert (config.url, config.name, config.send_limit) == ("https://example.com/hub", "mine", None)
    with pytest.raises(ConfigurationError):
        config.replace(resume_timeout=0)


def test_a_source_of_tokens_is_none_that_gives_none() -> None:
    with pytest.raises(ConfigurationError, match="takes a token keeper, a Token or a Secret, not int"):
        signalr.connect("https://example.com/hub", token=5)  # type: ignore[arg-type]  # the mistake that is told of
