"""What a Config takes, from arguments and from the environment, and what it refuses by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tradingview.certificates import PASSPHRASE, KeyFiles
from tradesession import ConfigurationError, ReauthorizationRequired, Secret
from tradesession.clock import ManualClock
from tradesession.tradingview import Config, FixedToken, PasswordBearer, ServerOAuth2Bearer, X5t
from tradesession.tradingview.config import PREFIX

BASE = "https://broker.example/api"


def env(**variables: Any) -> dict[str, str]:
    return {PREFIX + name.upper(): str(value) for name, value in ({"base_url": BASE} | variables).items()}


def certificate(files: KeyFiles) -> dict[str, Any]:
    return {
        "token_url": f"{BASE}/authorize/token",
        "app_url": "https://app.example",
        "user_id": "user-1",
        "client_id": "client-1",
        "client_secret": "s3cret",
        "key_file": files.key,
        "certificate_file": files.certificate,
    }


def test_the_base_url_is_all_that_public_data_needs() -> None:
    config = Config(BASE + "/")
    assert config.base_url == BASE
    assert config.auth is None
    assert config.place == "broker.example:443"
    assert config.streams == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "broker.example"}, "base_url: a URL is needed"),
        ({"base_url": "http://broker.example"}, "base_url: http://broker.example:80 is refused: secrets would travel in the clear"),
        ({"base_url": "https://me:secret@broker.example"}, "base_url: the URL .* carries a user or a password"),
        ({"base_url": "https://broker.example?x=1"}, "base_url has a query"),
        ({"auth": "token"}, "auth is a str; it is one of ServerOAuth2Bearer, PasswordBearer, FixedToken, or None"),
        ({"slot_name": ""}, "slot_name is empty"),
        ({"streams": 5}, "streams=5 is none of 0 to 4"),
        ({"streams": -1}, "streams=-1 is none of 0 to 4"),
        ({"request_timeout": 0.0}, "request_timeout=0 must be above 0"),
        ({"quotes_per_second": float("nan")}, "quotes_per_second=nan must be above 0"),
        ({"silence": -1.0}, "silence=-1 must be 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Config(**{"base_url": BASE} | options)
    assert "secret@" not in str(caught.value)


def test_a_config_may_be_printed(files: KeyFiles) -> None:
    shown = repr(Config.from_env(env(**certificate(files), store="postgresql://me:secret@db/x")))
    assert "s3cret" not in shown
    assert "secret@" not in shown


def test_the_environment_of_a_sandbox_authenticates_by_certificate(files: KeyFiles) -> None:
    config = Config.from_env(env(**certificate(files), login="me", password="pass", ca_file="/tmp/ca.pem"))
    assert isinstance(config.auth, ServerOAuth2Bearer)
    assert (config.auth.client_id, config.auth.user_id, config.auth.app_url) == ("client-1", "user-1", "https://app.example")
    assert config.auth.audience == f"{BASE}/authorize/token"
    assert config.auth.client_secret == Secret("s3cret")
    assert config.ca_file == "/tmp/ca.pem"
    assert config.slot.key == "tradingview/broker.example%3A443/client-1/user-1/default"


def test_which_credential_is_used_may_be_said(files: KeyFiles) -> None:
    everything = env(**certificate(files), login="me", password="pass", token="t0ken")
    assert isinstance(Config.from_env(everything, auth="server").auth, ServerOAuth2Bearer)
    assert isinstance(Config.from_env(everything, auth="password").auth, PasswordBearer)
    assert isinstance(Config.from_env(everything, auth="token").auth, FixedToken)
    assert Config.from_env(everything, auth="none").auth is None


def test_without_a_choice_the_first_complete_one_is_taken() -> None:
    assert isinstance(Config.from_env(env(login="me", password="pass", token="t")).auth, PasswordBearer)
    assert isinstance(Config.from_env(env(token="t")).auth, FixedToken)
    assert Config.from_env(env()).auth is None


def test_details_of_the_certificate_flow_are_options(files: KeyFiles) -> None:
    given = certificate(files) | {"key_file": files.pkcs12, "passphrase": PASSPHRASE, "certificate_file": ""}
    config = Config.from_env(
        env(**given, variant="saxo", x5t="base64url-padded", audience=f"{BASE}/other", assertion_lifetime=30, slot="2", streams=4)
    )
    assert isinstance(config.auth, ServerOAuth2Bearer)
    assert config.auth.variant.grant_type == "urn:saxobank:oauth:grant-type:personal-jwt"
    assert config.auth.variant.x5t is X5t.BASE64URL_PADDED
    assert (config.auth.audience, config.auth.lifetime) == (f"{BASE}/other", 30)
    assert (config.slot_name, config.slot.slot, config.streams) == ("2", "2", 4)
    own = Config.from_env(env(**certificate(files), grant_type="urn:your-broker:oauth:grant-type:personal-jwt")).auth
    assert isinstance(own, ServerOAuth2Bearer)
    assert own.variant.grant_type == "urn:your-broker:oauth:grant-type:personal-jwt"


def test_refreshing_a_login_by_oauth_is_an_option() -> None:
    auth = Config.from_env(env(login="me", password="p", refresh="oauth", token_url=f"{BASE}/token", client_id="c", client_secret="s")).auth
    assert isinstance(auth, PasswordBearer)
    assert (auth.refresh, auth.token_url, auth.client_id) == ("oauth", f"{BASE}/token", "c")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"base_url": ""}, r"base_url is not given \(TRADESESSION_TRADINGVIEW_BASE_URL\)"),
        ({"login": "me"}, "authentication by a password lacks password"),
        ({"client_id": "c", "user_id": "u"}, "authentication by a certificate lacks token_url, client_secret, app_url, key_file"),
        ({"auth": "server", "client_id": "c"}, "authentication by a certificate lacks"),
        ({"auth": "token"}, "authentication by a token lacks token"),
        ({"auth": "magic"}, "auth='magic' is none of server, password, token, none"),
        ({"key_fiel": "x"}, "TRADESESSION_TRADINGVIEW_KEY_FIEL is no option; did you mean TRADESESSION_TRADINGVIEW_KEY_FILE"),
        ({"streams": "many"}, "TRADESESSION_TRADINGVIEW_STREAMS does not hold what it should"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused_by_name(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Config.from_env(env(**variables))


@pytest.mark.parametrize(
    ("name", "said"), [("variant", "variant='x' is none of tradingview, saxo"), ("x5t", "x5t='x' is none of base64url")]
)
def test_unknown_details_are_refused_by_name(files: KeyFiles, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Config.from_env(env(**certificate(files), **{name: "x"}))


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"base_uri is no option of tradingview\.Config\.from_env; did you mean base_url"):
        Config.from_env(env(), base_uri="x")


async def test_where_a_token_rests_and_how_it_is_had_depends_on_the_credential(files: KeyFiles) -> None:
    clock = ManualClock()
    for auth in (None, FixedToken(token="t")):
        plan = Config(BASE, auth).token_plan(clock)
        assert not plan.is_stored
        await plan.aclose()
    for config in (Config(BASE, PasswordBearer(login="me", password="p")), Config.from_env(env(**certificate(files)))):
        plan = config.token_plan(clock)
        assert plan.is_stored
        assert plan.slot == config.slot
        await plan.aclose()


async def test_public_data_has_no_token_to_ask_for() -> None:
    plan = Config(BASE).token_plan(ManualClock())
    with pytest.raises(ReauthorizationRequired, match="give a credential"):
        await plan.exchange(None)


async def test_a_fixed_token_is_given_out_once() -> None:
    plan = Config(BASE, FixedToken(token="t", expires_at=5.0)).token_plan(ManualClock())
    token = await plan.exchange(None)
    assert (token.access, token.expires_at) == (Secret("t"), 5.0)
    with pytest.raises(ReauthorizationRequired, match="put a new one into the configuration"):
        await plan.exchange(token)


def test_a_copy_is_checked_anew() -> None:
    with pytest.raises(ConfigurationError, match="streams=9"):
        Config(BASE).replace(streams=9)
