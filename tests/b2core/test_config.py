"""A configuration is checked when it is made, shows no secret, and says where its tokens live."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tradesession import b2core
from tradesession.b2core import Config
from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret

URL = "https://my.broker.example"
GIVEN: dict[str, Any] = {"base_url": URL, "platform_id": 1, "email": "me@example.com", "password": "planted-password"}


def config(**changes: Any) -> Config:
    return Config(**(GIVEN | changes))


async def ask(request: b2core.CodeRequest) -> str:
    return "123456"


def test_secrets_may_be_plain_and_do_not_show() -> None:
    made = config(access_token="planted-access", refresh_token="planted-refresh", store="redis://:planted@host/0", ask_code=ask)
    assert "planted" not in f"{made!r} {made}"
    assert made.password == Secret("planted-password")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": ""}, "base_url is empty"),
        ({"base_url": "http://my.broker.example"}, "in the clear"),
        ({"base_url": "ftp://my.broker.example"}, "https://"),
        ({"base_url": "https://user:planted-password@my.broker.example"}, "a user or a password"),
        ({"base_url": URL + "/?t=planted-password"}, "query or a fragment"),
        ({"base_url": URL + "/#x"}, "query or a fragment"),
        ({"trader_urls": [URL, "http://elsewhere.example"]}, "in the clear"),
        ({"platform_id": ""}, "platform_id is empty"),
        ({"email": ""}, "email is missing"),
        ({"password": ""}, "password is missing"),
        ({"email": "", "password": None}, "nothing to sign in with"),
        ({"refresh_token": "planted-password"}, "without access_token"),
        ({"code_method": "pigeon"}, "code_method='pigeon'"),
        ({"hub_path": "frontoffice"}, "hub_path='frontoffice'"),
        ({"hub_path": "//evil.example"}, "hub_path='//evil.example'"),
        ({"device": {"name": "x"}}, "user_agent"),
        ({"country_name": "Grüzien"}, "ASCII"),
        ({"country_code": "1\r\nX: y"}, "ASCII"),
        ({"email": "\udcff"}, "UTF-8"),
        ({"password": "\udcff"}, "UTF-8"),
        ({"connect_timeout": 0}, "connect_timeout=0"),
        ({"request_timeout": float("nan")}, "request_timeout=nan"),
        ({"close_timeout": -1}, "close_timeout=-1"),
        ({"code_timeout": 0}, "code_timeout=0"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config(**changes)
    assert said in str(caught.value)
    assert "planted" not in str(caught.value)


def test_an_email_may_stand_beside_a_bearer() -> None:
    assert config(password=None, access_token="a").email


def test_addresses_are_written_in_one_way() -> None:
    made = config(base_url=URL + "/", trader_urls="https://trade.example/")
    assert (made.base_url, made.trader_urls) == (URL, ("https://trade.example",))
    assert config().trader_urls == (URL,)


def test_both_levels_have_a_slot_of_their_own_and_platforms_of_a_user_share_the_parents() -> None:
    one, two = config(), config(platform_id=2)
    assert one.slot != two.slot
    assert one.parent_slot == two.parent_slot != one.slot
    assert {one.slot.platform, one.slot.environment, one.slot.client} == {"b2core", "my.broker.example", "me@example.com"}


@pytest.mark.parametrize(
    "changes", [{"email": "you@example.com"}, {"base_url": URL + ":8443"}, {"base_url": URL + "/eu"}, {"subject": "two"}]
)
def test_another_user_broker_or_subject_is_another_slot(changes: dict[str, Any]) -> None:
    assert config(**changes).slot != config().slot
    assert config(**changes).parent_slot != config().parent_slot


def test_another_bearer_is_another_slot_and_does_not_show_in_it() -> None:
    one, two = (config(email="", password=None, access_token=token) for token in ("planted-1", "planted-2"))
    assert one.parent_slot != two.parent_slot
    assert "planted" not in str(one.slot)


def test_headers_about_the_country_go_along_as_they_were_given() -> None:
    assert config().geo == ()
    assert config(country_code="+995", country_name="Georgia").geo == (("Geo-Country-Code", "+995"), ("Geo-Country-Name", "Georgia"))


def test_the_environment_fills_every_option() -> None:
    environ = {
        "TRADESESSION_B2CORE_BASE_URL": URL,
        "TRADESESSION_B2CORE_PLATFORM_ID": "7",
        "TRADESESSION_B2CORE_EMAIL": "me@example.com",
        "TRADESESSION_B2CORE_PASSWORD": "planted",
        "TRADESESSION_B2CORE_TRADER_URLS": f"{URL}, https://trade.example",
        "TRADESESSION_B2CORE_NEGOTIATE": "yes",
        "TRADESESSION_B2CORE_CODE_TIMEOUT": "30",
        "TRADESESSION_OTHER": "x",
    }
    made = Config.from_env(environ, subject="mine")
    assert (made.platform_id, made.negotiate, made.code_timeout, made.subject) == ("7", True, 30.0, "mine")
    assert made.trader_urls == (URL, "https://trade.example")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "TRADESESSION_B2CORE_BASE_URL is not set"),
        ({"TRADESESSION_B2CORE_BASE_URL": URL}, "TRADESESSION_B2CORE_PLATFORM_ID is not set"),
        ({"TRADESESSION_B2CORE_BASEURL": URL}, "did you mean TRADESESSION_B2CORE_BASE_URL"),
        ({"TRADESESSION_B2CORE_CODE_TIMEOUT": "soon"}, "TRADESESSION_B2CORE_CODE_TIMEOUT"),
        ({"TRADESESSION_B2CORE_CLOCK": "x"}, "no option"),
        ({"TRADESESSION_B2CORE_ASK_CODE": "x"}, "no option"),
    ],
)
def test_a_variable_that_is_wrong_or_missing_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_env(environ)
    assert said in str(caught.value)


def test_without_an_argument_the_environment_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRADESESSION_B2CORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRADESESSION_B2CORE_ACCESS_TOKEN", "a")
    assert Config.from_env(base_url=URL, platform_id=1).access_token == Secret("a")


def test_a_copy_is_checked_anew() -> None:
    assert config().replace(platform_id=3).platform_id == "3"
    with pytest.raises(ConfigurationError):
        config().replace(platform_id="")


def test_a_file_of_authorities_may_be_a_path() -> None:
    assert config(ca_file=Path("/ca.pem")).ca_file == "/ca.pem"


def test_an_option_that_does_not_exist_is_named_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"pasword is no option of b2core\.Config; did you mean password"):
        Config.from_env({"TRADESESSION_B2CORE_BASE_URL": URL}, pasword="planted")
