"""Config: what cannot be meant is named, and what is secret does not show."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tradesession import policy
from tradesession.ctrader.config import HOSTS, PORT, PREFIX, Config
from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret


def config(**options: Any) -> Config:
    return Config(**({"client_id": "app", "client_secret": "planted-1"} | options))


def environ(**variables: str) -> dict[str, str]:
    return {PREFIX + name: text for name, text in ({"CLIENT_ID": "app", "CLIENT_SECRET": "planted-1"} | variables).items()}


# --- what it holds ------------------------------------------------------------------------------------------------------------------


def test_secrets_are_kept_as_secrets_however_they_came() -> None:
    made = config(access_token=Secret("planted-2"), refresh_token="planted-3")
    assert (made.client_secret, made.access_token, made.refresh_token) == (Secret("planted-1"), Secret("planted-2"), Secret("planted-3"))


def test_no_secret_shows_in_a_repr_nor_does_a_store_that_may_have_a_password() -> None:
    store = "postgresql://bot:planted-4@db/tokens"
    made = config(access_token="planted-2", refresh_token="planted-3", store=store)
    assert "planted" not in f"{made!r} {made}"
    assert "client_id='app'" in repr(made)


def test_an_empty_token_is_none() -> None:
    assert config(access_token="", refresh_token=None).access_token is None


def test_one_account_may_be_given_without_a_list() -> None:
    made = config(accounts=5, logins=[6, 7], brokers="pepper")
    assert (made.accounts, made.logins, made.brokers) == ((5,), (6, 7), ("pepper",))


def test_a_changed_copy_is_checked_anew_and_keeps_the_rest() -> None:
    made = config(accounts=[1]).replace(environment="live")
    assert (made.environment, made.accounts, made.client_secret) == ("live", (1,), Secret("planted-1"))
    with pytest.raises(ConfigurationError, match="port=0"):
        made.replace(port=0)


def test_configurations_are_equal_by_what_they_hold_and_frozen() -> None:
    assert config() == config()
    assert config() != config(environment="live")
    with pytest.raises(AttributeError):
        config().port = 1  # type: ignore[misc]


def test_the_defaults_are_the_policys() -> None:
    made = config()
    assert (made.heartbeat_interval, made.liveness_timeout) == (policy.HEARTBEAT_INTERVAL, policy.LIVENESS_TIMEOUT)
    assert (made.requests_per_second, made.max_frame) == (policy.REQUESTS_PER_SECOND, policy.MAX_FRAME)
    assert (made.environment, made.transport, made.scope) == ("demo", "tcp", "trading")


# --- where it leads -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", HOSTS)
def test_the_endpoint_is_the_public_one_of_the_environment_unless_told_otherwise(environment: Any) -> None:
    assert config(environment=environment).endpoint == (f"{environment}.ctraderapi.com", PORT)
    assert config(environment=environment, host="h", port=1).endpoint == ("h", 1)
    assert config(environment=environment).address == f"wss://{environment}.ctraderapi.com:{PORT}"


def test_the_websocket_address_follows_the_endpoint_or_is_its_own() -> None:
    assert config(host="127.0.0.1", port=1, plaintext=True).address == "ws://127.0.0.1:1"
    assert config(transport="websocket", websocket_url="wss://h/path").address == "wss://h/path"


def test_both_environments_are_two_lines_each_with_its_endpoint() -> None:
    demo, live = config(environment="both", endpoints={"live": ("l", 2)}, accounts=[7]).lines()
    assert [demo.environment, live.environment] == ["demo", "live"]
    assert [demo.endpoint, live.endpoint] == [(HOSTS["demo"], PORT), ("l", 2)]
    assert demo.accounts == live.accounts == (7,)
    one = config()
    assert one.lines() == [one]


def test_the_slot_is_the_grants_whatever_the_environment_and_the_accounts() -> None:
    assert config().slot == config(environment="live", accounts=[1], transport="websocket").slot
    assert config().slot != config(subject="somebody").slot
    assert config().slot != config(client_id="other").slot
    assert "planted" not in config().slot.key


# --- what is refused ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"client_id": ""}, "client_id is empty"),
        ({"client_secret": ""}, "client_secret is empty"),
        ({"client_secret": Secret("")}, "client_secret is empty"),
        ({"client_secret": None}, "client_secret is empty"),
        ({"client_id": "planted \udce9"}, "client_id holds bytes that are no UTF-8 text"),
        ({"client_secret": "planted \udce9"}, "client_secret holds bytes that are no UTF-8 text"),
        ({"access_token": Secret("planted \udce9")}, "access_token holds bytes that are no UTF-8 text"),
        ({"environment": "paper"}, "environment='paper' is none of demo, live"),
        ({"transport": "udp"}, "transport='udp' is none of tcp, websocket"),
        ({"scope": "all"}, "scope='all' is none of trading, accounts"),
        ({"port": 0}, "port=0 is no port; the protobuf port of the Open API is 5035"),
        ({"port": 65536}, "port=65536 is no port"),
        ({"connect_timeout": 0}, "connect_timeout=0 must be above 0"),
        ({"step_timeout": -1}, "step_timeout=-1 must be above 0"),
        ({"request_timeout": float("nan")}, "request_timeout=nan must be above 0"),
        ({"close_timeout": 0}, "close_timeout=0 must be above 0"),
        ({"heartbeat_interval": 0}, "heartbeat_interval=0 must be above 0"),
        ({"heartbeat_interval": 45}, "liveness_timeout=45 must be above heartbeat_interval=45"),
        ({"liveness_timeout": float("nan")}, "liveness_timeout=nan must be above heartbeat_interval=10"),
        ({"requests_per_second": 0}, "requests_per_second=0 must be above 0"),
        ({"historical_requests_per_second": -4}, "historical_requests_per_second=-4 must be above 0"),
        ({"max_frame": 0}, "max_frame=0 must be above 0"),
        ({"accounts": ["12"]}, "accounts holds '12', which is no whole number"),
        ({"logins": "12"}, "logins holds '12', which is no whole number"),
        ({"environment": "both", "host": "h"}, "environment='both' has two endpoints"),
        ({"environment": "both", "websocket_url": "wss://h"}, "environment='both' has two endpoints"),
        ({"websocket_url": "wss://bot:planted@h/"}, "websocket_url carries a user, a password or a query"),
        ({"websocket_url": "wss://h/?token=planted"}, "websocket_url carries a user, a password or a query"),
        ({"token_url": "https://bot:planted@h/apps/token"}, "token_url carries a user or a password"),
        ({"auth_url": "https://bot:planted@h/apps/auth"}, "auth_url carries a user or a password"),
        ({"endpoints": {"paper": ("h", 1)}}, "endpoints has paper, and there are only demo and live"),
    ],
)
def test_what_cannot_be_meant_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{told}") as caught:
        config(**options)
    assert "planted" not in str(caught.value)


def test_an_endless_time_may_be_meant() -> None:
    assert config(request_timeout=float("inf"), liveness_timeout=float("inf")).request_timeout == float("inf")


# --- from the environment -----------------------------------------------------------------------------------------------------------


def test_every_option_that_text_can_say_has_its_variable() -> None:
    made = Config.from_env(
        environ(
            ACCESS_TOKEN="planted-2",
            REFRESH_TOKEN="planted-3",
            ENVIRONMENT="live",
            ACCOUNTS="1, 2 3",
            LOGINS="4",
            BROKERS="a,b",
            HOST="h",
            PORT="1",
            TRANSPORT="websocket",
            WEBSOCKET_URL="wss://h",
            CA_FILE="ca.pem",
            PLAINTEXT="no",
            SUBJECT="me",
            STORE="sqlite:///x",
            STEP_TIMEOUT="2.5",
            MAX_FRAME="1000",
        )
    )
    assert (made.access_token, made.refresh_token, made.environment) == (Secret("planted-2"), Secret("planted-3"), "live")
    assert (made.accounts, made.logins, made.brokers) == ((1, 2, 3), (4,), ("a", "b"))
    assert (made.host, made.port, made.transport, made.websocket_url) == ("h", 1, "websocket", "wss://h")
    assert (made.ca_file, made.plaintext, made.subject, made.store) == ("ca.pem", False, "me", "sqlite:///x")
    assert (made.step_timeout, made.max_frame) == (2.5, 1000)


def test_lists_may_be_named_in_the_singular_but_not_in_both_ways() -> None:
    made = Config.from_env(environ(ACCOUNT="1", LOGIN="2", BROKER="a"))
    assert (made.accounts, made.logins, made.brokers) == ((1,), (2,), ("a",))
    with pytest.raises(ConfigurationError, match=f"{PREFIX}ACCOUNT and {PREFIX}ACCOUNTS are both set"):
        Config.from_env(environ(ACCOUNT="1", ACCOUNTS="2"))


def test_options_go_before_the_environment() -> None:
    context = ssl.create_default_context()
    made = Config.from_env(environ(HOST="h", PORT="1"), host="other", ssl_context=context)
    assert (made.host, made.port, made.ssl_context) == ("other", 1, context)


def test_the_real_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in environ(SUBJECT="me").items():
        monkeypatch.setenv(name, text)
    assert Config.from_env().subject == "me"


@pytest.mark.parametrize("name", ["CLIENT_ID", "CLIENT_SECRET"])
def test_what_is_missing_is_named(name: str) -> None:
    variables = environ()
    del variables[PREFIX + name]
    with pytest.raises(ConfigurationError, match=f"^{PREFIX}{name} is not set"):
        Config.from_env(variables)
    variables[PREFIX + name] = ""
    with pytest.raises(ConfigurationError, match=f"^{PREFIX}{name} is not set"):
        Config.from_env(variables)


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("CLIENT_SECERT", "CLIENT_SECERT is no option; did you mean TRADESESSION_CTRADER_CLIENT_SECRET"),
        ("SSL_CONTEXT", "SSL_CONTEXT is no option"),
        ("CLOCK", "CLOCK is no option"),
        ("PORT", "PORT does not hold what it should"),
        ("PLAINTEXT", "PLAINTEXT does not hold what it should: use true or false"),
        ("ACCOUNTS", "ACCOUNTS does not hold what it should"),
        ("ENVIRONMENT", "environment='planted-9' is none of"),
    ],
)
def test_a_variable_that_is_misspelt_or_cannot_be_read_is_named(variable: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Config.from_env(environ(**{variable: "planted-9"}))


def test_an_option_that_does_not_exist_is_named_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"enviroment is no option of ctrader\.Config; did you mean environment"):
        Config.from_env(environ(), enviroment="live")
