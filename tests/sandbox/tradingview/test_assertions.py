"""ServerOAuth2Bearer: what is taken, and that every reason of a refusal has a code of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.sandbox.tradingview.broker import Broker, der_of
from tradesession.sandbox.tradingview.assertion import SPELLINGS, make_key, spellings


async def code(broker: Broker, assertion: str, **changed: Any) -> str:
    status, reply = await broker.present(assertion, **changed)
    assert status in (400, 401), reply
    return str(reply["error_code"])


async def test_a_good_assertion_gets_a_pair_and_the_token_opens_data(broker: Broker) -> None:
    status, reply = await broker.present(broker.assertion())
    assert status == 200
    assert (reply["expires_in"], reply["token_type"], reply["refresh_token_expires_in"]) == (1200, "Bearer", 2400)
    await broker.ok("/symbol_info")


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_spelling_of_the_thumbprint_is_taken_and_counted(broker: Broker, spelling: str) -> None:
    assert (await broker.present(broker.assertion(x5t=spelling)))[0] == 200
    assert dict(broker.server.state.spellings) == {spelling: 1}


@pytest.mark.parametrize(("policy", "taken"), [("strict", {"base64url"}), ("hex", {"hex"})])
async def test_a_broker_may_take_one_spelling_only(broker: Broker, policy: str, taken: set[str]) -> None:
    broker.sandbox.set_fault("tradingview.x5t", policy)
    for number, spelling in enumerate(SPELLINGS):
        assertion = broker.assertion(x5t=spelling, exp=int(broker.sandbox.clock.wall()) + 30 + number)
        if spelling in taken:
            assert (await broker.present(assertion))[0] == 200
        else:
            assert await code(broker, assertion) == "x5t_spelling_refused"


async def test_upper_case_hexadecimal_is_taken_too(broker: Broker) -> None:
    thumbprint = spellings(der_of(broker.server.key_files()[1]))["hex"].upper()
    assert (await broker.present(broker.assertion(x5t=thumbprint)))[0] == 200


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no thumbprint", {"x5t": None}, "x5t_missing"),
    ("a SHA-256 thumbprint", {"x5t": "A" * 43}, "x5t_spelling"),
    ("another certificate", {"x5t": "A" * 27}, "certificate_unknown"),
    ("the algorithm PS256", {"alg": "PS256"}, "algorithm_not_allowed"),
    ("the algorithm RS512", {"alg": "RS512"}, "algorithm_not_allowed"),
    ("a secret for a key", {"alg": "HS256", "key": b"0123456789abcdef0123456789abcdef"}, "algorithm_not_allowed"),
    ("another issuer", {"iss": "somebody"}, "issuer_wrong"),
    ("no issuer", {"iss": None}, "issuer_wrong"),
    ("another subject", {"sub": "somebody"}, "subject_wrong"),
    ("another audience", {"aud": "https://elsewhere.example/token"}, "audience_wrong"),
    ("no audience", {"aud": None}, "audience_wrong"),
    ("no expiry", {"exp": None}, "expiry_not_an_integer"),
    ("an expiry with a fraction", {"exp": 4_000_000_000.5}, "expiry_not_an_integer"),
    ("an expiry as text", {"exp": "4000000000"}, "expiry_not_an_integer"),
    ("an expiry that is past", {"exp": 1_700_000_000}, "assertion_expired"),
    ("an expiry in years", {"exp": 4_000_000_000}, "assertion_lives_too_long"),
    ("another application", {"spurl": "https://elsewhere.example"}, "application_wrong"),
]


@pytest.mark.parametrize(("changed", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_what_is_wrong_is_refused_with_its_code(broker: Broker, changed: dict[str, Any], expected: str) -> None:
    assert await code(broker, broker.assertion(**changed)) == expected
    assert dict(broker.server.state.denials) == {expected: 1}


async def test_another_keys_signature_is_refused(broker: Broker) -> None:
    key, _ = make_key("somebody")
    assert await code(broker, broker.assertion(key=key)) == "signature_wrong"


async def test_a_changed_claim_breaks_the_signature(broker: Broker) -> None:
    header, claims, signature = broker.assertion().split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"exp": int(broker.sandbox.clock.wall()) + 200}
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    assert await code(broker, f"{header}.{forged}.{signature}") == "signature_wrong"


async def test_no_algorithm_at_all_is_refused(broker: Broker) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    _, claims, _ = broker.assertion().split(".")
    assert await code(broker, f"{header}.{claims}.AAAA") == "algorithm_not_allowed"


async def test_an_assertion_works_once(broker: Broker) -> None:
    assertion = broker.assertion()
    assert (await broker.present(assertion))[0] == 200
    assert await code(broker, assertion) == "assertion_replayed"


async def test_an_assertion_that_waited_too_long_has_expired(broker: Broker) -> None:
    assertion = broker.assertion()
    await broker.sandbox.clock.advance(seconds=61)
    assert await code(broker, assertion) == "assertion_expired"


async def test_another_sets_key_does_not_open_this_set(broker: Broker) -> None:
    broker.server.key_files(2)
    other = broker.server.key_files(2)[0].read_bytes()
    thumbprint = spellings(der_of(broker.server.key_files(2)[1]))["base64url"]
    assert await code(broker, broker.assertion(1, key=other, x5t=thumbprint)) == "certificate_of_another_client"


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "....", "e30.e30.AAAA.AAAA", "W10.W10.AAAA"])
async def test_what_is_no_token_is_malformed(broker: Broker, text: str) -> None:
    broker.server.key_files()
    assert await code(broker, text) in ("assertion_malformed", "assertion_missing")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"client_id": "somebody"}, "client_unknown"),
        ({"client_secret": "wrong"}, "client_unknown"),
        ({"client_id": None, "client_secret": None}, "client_missing"),
        ({"grant_type": "urn:another:oauth:grant-type:personal-jwt"}, "grant_type_unknown"),
    ],
)
async def test_the_client_and_the_grant_type_have_to_be_right(broker: Broker, changed: dict[str, str | None], expected: str) -> None:
    assert await code(broker, broker.assertion(), **changed) == expected


async def test_the_client_may_be_named_by_the_basic_scheme(broker: Broker) -> None:
    credential = broker.server.credentials[0]
    form = {"grant_type": credential.grant_type, "assertion": broker.assertion()}
    basic = base64.b64encode(f"{credential.client_id}:{credential.client_secret}".encode()).decode()
    status, _ = await broker.post("/authorize/token", form, Authorization=f"Basic {basic}")
    assert status == 200
    form["assertion"] = broker.assertion(exp=int(broker.sandbox.clock.wall()) + 30)
    assert (await broker.post("/authorize/token", form, Authorization="Basic !"))[1]["error_code"] == "client_missing"


async def test_refusals_may_come_as_envelopes(broker: Broker) -> None:
    broker.server.settings.token_errors = "envelope"
    status, reply = await broker.present("nonsense")
    assert (status, reply["s"]) == (200, "error")
    assert "assertion_malformed" in reply["errmsg"]


async def test_a_broker_may_be_wrong_about_its_address_or_its_clock(broker: Broker) -> None:
    broker.server.faults.audience = "https://elsewhere.example/token"
    assert await code(broker, broker.assertion()) == "audience_wrong"
    broker.server.faults.clear()
    broker.server.faults.clock_offset = 90
    assert await code(broker, broker.assertion()) == "assertion_expired"
    broker.server.faults.clock_offset = -400
    assert await code(broker, broker.assertion()) == "assertion_lives_too_long"


async def test_a_broker_may_forget_what_it_has_seen(broker: Broker) -> None:
    broker.server.faults.replay_accepted = True
    assertion = broker.assertion()
    assert [(await broker.present(assertion))[0] for _ in range(2)] == [200, 200]
