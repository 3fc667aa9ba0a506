"""Everything that a configuration refuses, and what it makes of the rest."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import tradesession
from tradesession import cplugin
from tradesession.cplugin.config import PREFIX
from tradesession.errors import ConfigurationError
from tradesession.timing import SYSTEM_CLOCK
from tradesession.tokens.exchange import StaticExchange

GUID = "0c2d5a1b-0000-4000-8000-00000000000A"
CLIENT: dict[str, Any] = {"client_id": "me", "client_secret": "planted-secret"}


def test_prod_is_the_default() -> None:
    config = cplugin.Config(**CLIENT)
    assert (config.environment, config.base_url, config.authority) == ("prod", "https://cloud.mywebapi.com", "https://auth.cplugin.net")
    assert (config.scope, config.hub, config.bearer_in, config.skip_negotiation) == ("webapi", "mt4-v2", "header", False)


def test_staging_has_addresses_of_its_own() -> None:
    config = cplugin.Config(**CLIENT, environment="staging")
    assert (config.base_url, config.authority) == ("https://pre.mywebapi.com", "https://pre.auth.cplugin.net")


def test_addresses_make_it_a_custom_one() -> None:
    config = cplugin.Config(**CLIENT, base_url="https://api.test/", authority="https://id.test/")
    assert (config.environment, config.base_url, config.authority) == ("custom", "https://api.test", "https://id.test")
    assert config == cplugin.Config(**CLIENT, environment="custom", base_url="https://api.test", authority="https://id.test")


@pytest.mark.parametrize("hub", ["mt4-v1", "mt4-v2", "mt5-v2"])
def test_the_hubs_have_their_addresses(hub: Any) -> None:
    config = cplugin.Config(**CLIENT, trade_platform=UUID(GUID), hub=hub)
    path = f"https://cloud.mywebapi.com/hubs/{hub.replace('-', '/')}"
    assert config.hub_config().url == path + ("" if hub == "mt4-v1" else f"?tradePlatform={GUID.lower()}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"client_id": ""}, "client_id is empty"),
        ({"client_secret": ""}, "client_secret is empty"),
        ({"hub": "mt4v2"}, "did you mean mt4-v2"),
        ({"bearer_in": "query"}, "bearer_in='query'"),
        ({"client_auth": "none"}, "client_auth='none'"),
        ({"stream_all": "never"}, "stream_all='never'"),
        ({"environment": "production"}, "environment='production'"),
        ({"environment": "prod", "base_url": "https://api.test"}, "addresses of its own"),
        ({"environment": "staging", "authority": "https://id.test"}, "addresses of its own"),
        ({"environment": "custom"}, "base_url is not given"),
        ({"base_url": "https://api.test"}, "authority is not given"),
        ({"authority": "https://id.test"}, "base_url is not given"),
        ({"base_url": "http://api.test", "authority": "https://id.test"}, "base_url: .* in the clear"),
        ({"base_url": "https://api.test", "authority": "http://id.test"}, "authority: .* in the clear"),
        ({"base_url": "https://api.test", "authority": "https://me:pass@id.test"}, "authority: .*a user or a password"),
        ({"base_url": "https://api.test", "authority": "https://id.test?x=1"}, "authority carries a query"),
        ({"base_url": "api.test", "authority": "https://id.test"}, "base_url: "),
        ({"token_url": "http://id.test/token"}, "token_url: .* in the clear"),
        ({"trade_platform": "demo"}, "no GUID"),
        ({"request_timeout": 0}, "request_timeout=0"),
        ({"request_timeout": float("nan")}, "request_timeout=nan"),
        ({"call_timeout": 0}, "call_timeout=0"),
        ({"ping_interval": 40}, "ping_interval=40"),
        ({"ca_file": "x.pem", "ssl_context": ssl.create_default_context()}, "ca_file or ssl_context"),
        ({"client_id": "\udc80"}, "client_id holds bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        cplugin.Config(**(CLIENT | options))
    assert "planted" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_loopback_may_do_without_tls() -> None:
    cplugin.Config(**CLIENT, base_url="http://127.0.0.1:5000", authority="http://localhost:5001")


def test_everything_can_stand_in_the_environment() -> None:
    variables = {
        "CLIENT_ID": "me",
        "CLIENT_SECRET": "planted-secret",
        "BASE_URL": "https://api.test",
        "AUTHORITY": "https://id.test",
        "TRADE_PLATFORM": GUID,
        "CA_FILE": "/ca.pem",
        "BEARER_IN": "signalr_token",
        "HUB": "mt5-v2",
        "SKIP_NEGOTIATION": "yes",
        "CALL_TIMEOUT": "7.5",
        "SCOPE": "",
    }
    config = cplugin.Config.from_env({PREFIX + name: value for name, value in variables.items()}, call_timeout=8.0)
    assert (config.client_id, config.base_url, config.authority) == ("me", "https://api.test", "https://id.test")
    assert (config.trade_platform, config.ca_file, config.bearer_in) == (GUID.lower(), "/ca.pem", "signalr_token")
    assert (config.hub, config.skip_negotiation, config.call_timeout, config.scope) == ("mt5-v2", True, 8.0, "webapi")


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"CLIENT_IDD": "x"}, {}, f"did you mean {PREFIX}CLIENT_ID"),
        ({"SKIP_NEGOTIATION": "perhaps"}, {}, "SKIP_NEGOTIATION does not hold"),
        ({"CALL_TIMEOUT": "soon"}, {}, "CALL_TIMEOUT does not hold"),
        ({"CLIENT_ID": "x"}, {}, f"{PREFIX}CLIENT_SECRET is not set"),
        ({}, {}, f"{PREFIX}CLIENT_ID is not set"),
        ({}, {"clientid": "x"}, "clientid is no option of cplugin.Config; did you mean client_id"),
        ({}, {"store": "memory:"}, "store is no option"),
    ],
)
def test_the_environment_is_checked(variables: dict[str, str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        cplugin.Config.from_env({PREFIX + name: value for name, value in variables.items()}, **options)


def test_a_given_token_needs_no_client() -> None:
    config = cplugin.Config.from_env({f"{PREFIX}ACCESS_TOKEN": "planted-token"})
    plan = config.token_plan(SYSTEM_CLOCK)
    assert isinstance(plan.exchange, StaticExchange)
    assert not plan.is_stored
    assert plan.slot != config.replace(access_token="planted-other").slot
    assert "planted" not in plan.slot.key


def test_no_secret_shows() -> None:
    shown = repr(cplugin.Config(**CLIENT, access_token="planted-token"))
    assert "planted" not in shown


def test_a_copy_is_checked_anew_and_may_move_to_another_environment() -> None:
    custom = cplugin.Config(**CLIENT, base_url="https://api.test", authority="https://id.test")
    assert custom.replace(environment="prod").base_url == "https://cloud.mywebapi.com"
    moved = custom.replace(environment="staging").replace(base_url="https://a.test", authority="https://b.test")
    assert (moved.environment, moved.base_url) == ("custom", "https://a.test")
    assert custom.replace(hub="mt5-v2").base_url == "https://api.test"
    assert cplugin.Config(**CLIENT).replace(hub="mt5-v2").environment == "prod"
    with pytest.raises(ConfigurationError):
        custom.replace(hub="no-such-hub")


def test_clients_environments_and_scopes_have_tokens_of_their_own() -> None:
    config = cplugin.Config(**CLIENT)
    others = [
        config.replace(client_id="you"),
        config.replace(environment="staging"),
        config.replace(scope="other"),
        config.replace(token_url="https://id.test/token"),
    ]
    assert len({config.slot, *(other.slot for other in others)}) == 5
    assert config.slot == config.replace(hub="mt5-v2", trade_platform=GUID).slot


@pytest.mark.parametrize("hub", ["mt4-v2", "mt5-v2"])
async def test_a_hub_of_v2_wants_a_trade_platform(hub: Any) -> None:
    with pytest.raises(ConfigurationError, match="trade_platform is not given"):
        async with tradesession.connect(cplugin.Config(**CLIENT, hub=hub)):
            pass


async def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    config = cplugin.Config(**CLIENT, trade_platform=GUID, ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        async with tradesession.connect(config):
            pass
