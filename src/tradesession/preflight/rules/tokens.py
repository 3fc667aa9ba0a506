"""Rules about tokens: /authorize (PasswordBearer), the token URL (ServerOAuth2Bearer), and how long a token is good. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from tradesession.preflight.evidence import ENDPOINTS, Evidence
from tradesession.preflight.exchange import Exchange, brief, is_integer, is_number
from tradesession.preflight.report import Problem, Rules
from tradesession.preflight.rules.common import DATA_TESTS, SPECIFICATION, answered, need, refused, typed

RULES: Final = Rules()
rule = RULES.rule

MANUAL: Final = "Broker Integration Manual, data: authentication"
LONGEST: Final = 2_147_483.647
"""Seconds: what 32 bits hold in milliseconds, about 24.8 days."""
COMFORTABLE: Final = (900, 1800)
"""Seconds: the recommended life of a token."""
NO_LOGIN: Final = "no login and password were given"
NO_KEY: Final = "no client id, secret and key were given"
PUBLIC: Final = "nothing was given to be let in with: the data are taken for public"


def access_token(exchange: Exchange) -> str | None:
    """The token of an answer, enveloped or flat; None where there is none that can be used."""
    reply = fields(exchange)
    token = reply.get("access_token") if reply is not None else None
    return token if isinstance(token, str) and token and exchange.status == 200 else None


def fields(exchange: Exchange) -> dict[str, Any] | None:
    """What an answer says about a token: the inside of its envelope, or all of it where it has none."""
    reply = exchange.reply
    if reply is None or reply.get("s") == "error":
        return None
    inner = reply.get("d")
    return reply | inner if isinstance(inner, dict) else reply


def is_refusal(exchange: Exchange) -> bool:
    """Whether the server says that it does not take the credential, by its envelope or by a status."""
    return exchange.status in (400, 401, 403) or (exchange.status == 200 and exchange.s == "error")


def lifetime(exchange: Exchange) -> float | None:
    """Seconds from the answer on; None when it is not said, or not well."""
    reply = fields(exchange) or {}
    if is_number(reply.get("expires_in")):
        return float(reply["expires_in"])
    return float(reply["expiration"]) - exchange.done_at if is_number(reply.get("expiration")) else None


@rule("server.speed", "the server answers quickly enough for all of this in less than two minutes", "this tool")
def _speed(evidence: Evidence) -> Iterator[Problem]:
    if evidence.out_of_time:
        yield Problem("everything asked", f"the time was over after {evidence.out_of_time:.0f} s")


# --- PasswordBearer ---------------------------------------------------------------------------------------------------------------------


@rule("password.answer", "/authorize answers a good login with HTTP 200", DATA_TESTS + "authBasicFieldsFormat")
def _password_answer(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.logins, NO_LOGIN)
    yield from answered(evidence.logins)


@rule(
    "password.token", "it has a token that is a text and not empty, in an envelope with s=ok or flat", DATA_TESTS + "authBasicFieldsFormat"
)
def _password_token(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.logins, NO_LOGIN)
    for one in evidence.logins:
        if one.status == 200 and not one.error and access_token(one) is None:
            yield Problem("an access_token that is a text and not empty", _token_found(one), one.what)


@rule("password.expiration", "expiration, or expires_in in a flat reply, is a whole number", DATA_TESTS + "authBasicFieldsFormat")
def _password_expiration(evidence: Evidence) -> Iterator[Problem]:
    for one in _good(evidence.logins, NO_LOGIN):
        yield from _expiration(one)


@rule("password.refused", "a wrong password is refused by HTTP 200 with s=error and an errmsg", SPECIFICATION + ", /authorize")
def _password_refused(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.logins, NO_LOGIN)
    wrong = evidence.wrong_login
    need(wrong, "no wrong password was sent")
    assert wrong is not None
    reply = wrong.reply or {}
    if wrong.status != 200 or wrong.s != "error":
        yield Problem("HTTP 200 with s=error", "a token" if access_token(wrong) else wrong.described(), wrong.what)
    elif not isinstance(reply.get("errmsg"), str) or not reply["errmsg"]:
        yield Problem("an errmsg to show to the user", brief(reply.get("errmsg")), wrong.what)


# --- ServerOAuth2Bearer -----------------------------------------------------------------------------------------------------------------


@rule("assertion.answer", "the token URL answers a good assertion with HTTP 200", DATA_TESTS + "authOAuth2FieldsFormat")
def _assertion_answer(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.assertions, NO_KEY)
    for one in evidence.assertions:
        if one.error or one.status != 200:
            yield Problem("HTTP 200 with a token", one.error or _refusal(one), one.what)


@rule(
    "assertion.fields",
    "it has access_token, expires_in, token_type Bearer, and with a refresh_token its refresh_token_expires_in; or an envelope, as a login",
    f"{MANUAL}; {DATA_TESTS.removeprefix('Broker Integration Manual, ')}authOAuth2FieldsFormat",
)
def _assertion_fields(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.assertions, NO_KEY)
    for one in evidence.assertions:
        if one.status != 200 or one.error:
            continue
        reply = one.reply or {}
        if access_token(one) is None:
            yield Problem("an access_token that is a text and not empty", _token_found(one), one.what)
            continue
        if "access_token" not in reply:  # the older generation: its token stands in the envelope
            yield from _expiration(one)
            continue
        if not isinstance(reply.get("token_type"), str) or reply["token_type"].lower() != "bearer":
            yield Problem("token_type Bearer", brief(reply.get("token_type")), one.what)
        if not is_integer(reply.get("expires_in")):
            yield Problem("expires_in as a whole number", f"{brief(reply.get('expires_in'))} ({_kind(reply.get('expires_in'))})", one.what)
        if "refresh_token" in reply and not is_integer(reply.get("refresh_token_expires_in")):
            yield Problem("refresh_token_expires_in as a whole number", brief(reply.get("refresh_token_expires_in")), one.what)


@rule("assertion.verified", "an assertion that is expired, for another audience or signed by another key gets no token", "RFC 7523, 3")
def _assertion_verified(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.assertions, NO_KEY)
    need(evidence.bad_assertions, "no good assertion was accepted, so that nothing can be learnt from bad ones")
    for wrong, one in evidence.bad_assertions.items():
        if access_token(one) is not None:
            yield Problem("no token", "a token", f"{one.what}, {wrong}")


@rule("assertion.replay", "an assertion works once; without a jti a server can tell by the whole of it", "RFC 7523, 3 (optional)")
def _assertion_replay(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.assertions, NO_KEY)
    need(evidence.replay, "no good assertion was accepted")
    if evidence.replay is not None and access_token(evidence.replay) is not None:
        yield Problem("no token", "a token", evidence.replay.what, is_warning=True)


# --- both of them -----------------------------------------------------------------------------------------------------------------------

Given = Callable[[Evidence], tuple[list[Exchange], Exchange | None]]


def _both(area: str, what: str, test: str, given: Given, none: str) -> None:
    """What is asked of tokens by either way. `given` tells the answers with tokens, and what came for the first token after the last."""

    @rule(f"{area}.content-type", "its Content-Type has application/json", f"{DATA_TESTS}{test}FieldsFormat")
    def content_type(evidence: Evidence) -> Iterator[Problem]:
        answers, _ = given(evidence)
        need(answers, none)
        yield from typed(answers)

    @rule(
        f"{area}.future",
        "the token ends in the future, and no later than 32 bits of milliseconds allow",
        f"{DATA_TESTS}{test}FieldsFormat",
    )
    def future(evidence: Evidence) -> Iterator[Problem]:
        for one in _good(given(evidence)[0], none):
            yield from _lives(one)

    @rule(f"{area}.unique", f"every {what} gets a new token", f"{DATA_TESTS}{test}NewTokenPerRequest")
    def unique(evidence: Evidence) -> Iterator[Problem]:
        tokens = [access_token(one) for one in _good(given(evidence)[0], none)]
        need(len(tokens) > 1, "fewer than two tokens came")
        if len(set(tokens)) < len(tokens):
            yield Problem(f"{len(tokens)} different tokens", f"{len(set(tokens))}", given(evidence)[0][0].what)

    @rule(f"{area}.parallel", f"a later {what} does not end an earlier token: several clients use one credential", MANUAL)
    def parallel(evidence: Evidence) -> Iterator[Problem]:
        answers, later = given(evidence)
        need(answers, none)
        need(later, f"there were not two good {what}s")
        if later is not None and later.status == 401:
            yield Problem("the first token still works", later.described(), f"{later.what} after {len(answers)} {what}s")


_both("password", "login", "authBasic", lambda evidence: (evidence.logins, evidence.first_token_later), NO_LOGIN)
_both("assertion", "assertion", "authOAuth2", lambda evidence: (evidence.assertions, evidence.first_assertion_later), NO_KEY)


# --- refreshing -------------------------------------------------------------------------------------------------------------------------


@rule("refresh.works", "a refresh token gets a new access token that works", MANUAL)
def _refresh_works(evidence: Evidence) -> Iterator[Problem]:
    one = evidence.refreshed
    need(one, "no refresh token was given with an assertion")
    assert one is not None
    if access_token(one) is None:
        yield Problem("a new access_token", _refusal(one) if one.reply is not None else one.described(), one.what)
    elif evidence.new_token_after_refresh is not None and evidence.new_token_after_refresh.status == 401:
        yield Problem("a token that works", evidence.new_token_after_refresh.described(), evidence.new_token_after_refresh.what)


@rule("refresh.overlap", "the old token works until the new one has been used: renewal is not simultaneous everywhere", MANUAL)
def _refresh_overlap(evidence: Evidence) -> Iterator[Problem]:
    one = evidence.old_token_after_refresh
    need(one, "nothing was refreshed")
    if one is not None and one.status == 401:
        yield Problem("the old token still works", one.described(), f"{one.what} with the token from before")


@rule("refresh.rotation", "a refresh token that has been replaced works no more", "RFC 9700, 4.14 (recommended)")
def _refresh_rotation(evidence: Evidence) -> Iterator[Problem]:
    one = evidence.refreshed_again
    need(one, "nothing was refreshed")
    if one is not None and access_token(one) is not None:
        yield Problem("no token", "a token", f"{one.what}, a second time", is_warning=True)


# --- what a token is good for -----------------------------------------------------------------------------------------------------------


@rule("token.obtained", "there is a token to read data with", MANUAL)
def _token_obtained(evidence: Evidence) -> Iterator[Problem]:
    need(not evidence.is_public, PUBLIC)
    if not evidence.has_token and not evidence.out_of_time:
        yield Problem("a token, by assertion or by login", "none")


@rule("token.expires", "a token that has expired is refused with HTTP 401", MANUAL)
def _token_expires(evidence: Evidence) -> Iterator[Problem]:
    one = evidence.expired
    need(one, evidence.expiry_reason or "the server gave no token")
    if one is not None and one.status != 401:
        yield Problem("HTTP 401", one.described(), f"{one.what} with an expired token")


def _unauthorized(endpoint: str) -> None:
    test = {"symbol_info": "symbols"}.get(endpoint, endpoint)

    @rule(
        f"{endpoint}.unauthorized",
        f"/{endpoint} refuses a missing and a wrong token with HTTP 401",
        f"{DATA_TESTS}{test}UnauthorizedRequest",
    )
    def check(evidence: Evidence) -> Iterator[Problem]:
        need(not evidence.is_public, PUBLIC)
        need(endpoint in evidence.unauthorized, "it was not asked")
        if endpoint == "groups":
            need(evidence.uses_groups, "the server has no groups")
        yield from refused(evidence.unauthorized[endpoint])


for _endpoint in ENDPOINTS:
    _unauthorized(_endpoint)


# --- helpers ----------------------------------------------------------------------------------------------------------------------------


def _good(exchanges: list[Exchange], reason: str) -> list[Exchange]:
    """Those that have a token."""
    need(exchanges, reason)
    good = [one for one in exchanges if access_token(one) is not None]
    need(good, "no token came")
    return good


def _expiration(exchange: Exchange) -> Iterator[Problem]:
    reply = fields(exchange) or {}
    stated = {name: reply[name] for name in ("expiration", "expires_in") if name in reply}
    for name, value in stated.items():
        if not is_integer(value):
            yield Problem(f"{name} as a whole number", f"{brief(value)} ({_kind(value)})", exchange.what)
    if not stated:
        yield Problem("an expiration, so that a lost token ends some day", "none", exchange.what, is_warning=True)


def _lives(exchange: Exchange) -> Iterator[Problem]:
    life = lifetime(exchange)
    if life is None:
        return
    if life <= 0:
        yield Problem("an end in the future", f"{-life:.0f} seconds ago", exchange.what)
    elif life > LONGEST:
        yield Problem(f"at most {LONGEST:.0f} seconds", f"{life:.0f} seconds", exchange.what)
    elif not COMFORTABLE[0] - 1 <= life <= COMFORTABLE[1] + 1:
        yield Problem("15 to 30 minutes, as is recommended", f"{life:.0f} seconds", exchange.what, is_warning=True)


def _token_found(exchange: Exchange) -> str:
    reply = fields(exchange)
    if reply is None:
        return exchange.described()
    return f"one that is {_kind(reply['access_token'])}" if "access_token" in reply else "none"


def _refusal(exchange: Exchange) -> str:
    reply = exchange.reply or {}
    said = [f"{name}={brief(reply[name])}" for name in ("error", "error_code", "error_description", "errmsg") if name in reply]
    return f"HTTP {exchange.status}" + "".join(f", {text}" for text in said)


def _kind(value: object) -> str:
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number with a fraction", type(None): "null"}
    if value == "":
        return "empty"
    return names.get(type(value), "an object or array")
