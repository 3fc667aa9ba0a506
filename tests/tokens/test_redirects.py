"""The address of a consent, and what a redirect back or a pasted text says."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ConfigurationError, Error, ReauthorizationRequired, TokenRefused
from tradesession.secrets import Secret
from tradesession.tokens.redirects import Redirect, authorization_url, new_state, parse_pasted, pkce_challenge

PAGE = "https://id.example.test/consent"
STATE = Secret("planted-state")
codes = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


# --- the way there ----------------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(["client_id", "redirect_uri", "scope", "nonce"]), st.text(min_size=1)))
def test_every_parameter_survives_the_address(parameters: dict[str, str]) -> None:
    url = authorization_url(PAGE, **parameters)
    assert dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)) == parameters
    assert url.isascii()
    assert " " not in url


def test_an_existing_query_is_kept_and_nothing_comes_twice() -> None:
    url = authorization_url(f"{PAGE}/?tenant=a%20b&flag=&scope=old#part", scope="new", state=Secret("s"), product=None, hint="")
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [("tenant", "a b"), ("flag", ""), ("scope", "new"), ("state", "s")]
    assert urlsplit(url).fragment == ""


def test_a_space_becomes_percent_twenty() -> None:
    assert authorization_url("https://id.example.test", scope="a b+c") == "https://id.example.test/?scope=a%20b%2Bc"


def test_a_consent_page_without_tls_is_refused_unless_it_is_on_loopback() -> None:
    with pytest.raises(ConfigurationError, match="use https"):
        authorization_url("http://id.example.test/", client_id="x")
    assert authorization_url("http://127.0.0.1:8080/auth", client_id="x") == "http://127.0.0.1:8080/auth?client_id=x"


def test_states_differ_and_do_not_show() -> None:
    first, second = new_state(), new_state()
    assert first != second
    assert len(first.reveal()) >= 43
    assert first.reveal() not in repr(first)


def test_the_challenge_is_the_one_of_rfc_7636() -> None:
    assert pkce_challenge(Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    verifier = new_state()
    digest = hashlib.sha256(verifier.reveal().encode()).digest()
    assert base64.urlsafe_b64decode(pkce_challenge(verifier) + "=") == digest


# --- the way back -----------------------------------------------------------------------------------------------------------------


@given(codes)
def test_a_code_survives_the_redirect(code: str) -> None:
    assert Redirect.read(urlencode({"code": code}, quote_via=quote)) == Redirect(code=Secret(code))


def test_a_plus_that_somebody_forgot_to_encode_is_a_plus() -> None:
    assert Redirect.read("code=a+b&state=x+y", Secret("x+y"), require_state=True).code == Secret("a+b")


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("", "carries no code"),
        ("code=", "carries no code"),
        ("code=a&code=b", "carries code twice"),
        ("code=a&state=planted-state&state=planted-state", "carries state twice"),
        ("code=a%20b", "its code is damaged"),
        ("code=%C3%A4", "its code is damaged"),
        ("code=a%00", "its code is damaged"),
        ("code=" + "a" * 5000, "its code is damaged"),
        ("code=a&state=other", "its state is not the one of this login"),
        ("error=access_denied&state=other", "its state is not the one of this login"),
    ],
)
def test_what_is_not_the_answer_says_why(query: str, fault: str) -> None:
    redirect = Redirect.read(query, STATE)
    assert fault in redirect.fault
    assert (redirect.code, redirect.refusal) == (None, None)


def test_a_state_is_evidence_where_it_is_echoed() -> None:
    assert Redirect.read("code=a&state=planted-state", STATE).code == Secret("a")
    assert Redirect.read("code=a", STATE).code == Secret("a")
    assert Redirect.read("code=a&state=anything").code == Secret("a")
    assert "carries no state" in Redirect.read("code=a", STATE, require_state=True).fault
    assert Redirect.read("code=a&state=planted-state", STATE, require_state=True).code == Secret("a")


def test_a_denied_consent_needs_another_one() -> None:
    refusal = Redirect.read("error=access_denied&error_description=The+user%0Asaid%20no").refusal
    assert isinstance(refusal, ReauthorizationRequired)
    assert "access_denied (The user said no)" in str(refusal)


def test_another_refusal_is_a_matter_of_configuration() -> None:
    refusal = Redirect.read("error=invalid_scope%1B&error_description=" + "x" * 900).refusal
    assert isinstance(refusal, TokenRefused)
    assert refusal.code == "invalid_scope?"
    assert len(refusal.description) == 201
    assert "check the client id, the redirect URI and the scope" in str(refusal)
    assert "refused with odd: check" in str(Redirect.read("error=odd").refusal)


# --- pasted -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pasted",
    [
        "https://bot.example.test/back?code=the-code&state=planted-state",
        "  <http://localhost:8080/?state=planted-state&code=the-code#>  \n",
        "'http://127.0.0.1/cb?code=the-code'",
        "https://bot.example.test/back#code=the-code&state=planted-state",
        "localhost:8080/cb?code=the-code",
        "?code=the-code&state=planted-state",
        "code=the-code",
        "the-code",
        "the%2Dcode",
        '"the-code"',
    ],
)
def test_the_code_is_found_in_whatever_a_person_pastes(pasted: str) -> None:
    assert parse_pasted(pasted, STATE) == Secret("the-code")


@given(codes.filter(lambda code: not set(code) & set("\"'<>`%=[{") and "://" not in code))
def test_a_bare_code_is_taken_as_it_is(code: str) -> None:
    assert parse_pasted(code) == Secret(code)


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "nothing was pasted"),
        ('  ""  ', "nothing was pasted"),
        ("planted code", "in one piece"),
        ("https://bot.test/?code=plan\nted", "in one piece"),
        ("https://bot.test/planted", "it carries no code; paste the address that the browser ends at after you have agreed"),
        ("https://bot.test/?code=planted&state=planted-other", "its state is not the one of this login"),
        (f"{PAGE}?client_id=planted&redirect_uri=x", "it is the address of the consent page itself"),
        ("plänted", "neither an address nor a code"),
        ('{"accessToken":"planted"}', "neither an address nor a code"),
        ("planted" * 1000, "neither an address nor a code"),
        ("planted%0A", "neither an address nor a code"),
    ],
)
def test_the_usual_mistakes_are_named_and_not_repeated(pasted: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        parse_pasted(pasted, STATE)
    assert "plan" not in str(caught.value)


def test_a_pasted_address_may_have_to_carry_the_state() -> None:
    with pytest.raises(ConfigurationError, match="carries no state"):
        parse_pasted("https://bot.test/?code=a", STATE, require_state=True)


@pytest.mark.parametrize(("error", "raised"), [("access_denied", ReauthorizationRequired), ("server_error", TokenRefused)])
def test_a_pasted_refusal_is_raised(error: str, raised: type[Error]) -> None:
    with pytest.raises(raised, match=error):
        parse_pasted(f"https://bot.test/?error={error}", STATE)


@given(st.text())
def test_no_pasted_text_breaks_the_reading(text: str) -> None:
    for state in (None, STATE):
        outcome = outcome_of(text, state)
        assert outcome == "error" or (outcome.isascii() and " " not in outcome)


def outcome_of(text: str, state: Secret | None) -> str:
    try:
        return parse_pasted(text, state).reveal()
    except Error:
        return "error"
