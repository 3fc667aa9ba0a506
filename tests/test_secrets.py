"""Secrets do not show, whatever is done with them."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradesession.secrets import MASK, Secret, redact_text, redact_url

PLANTED = "pl4nted-s3cret"


@dataclasses.dataclass(frozen=True)
class Holder:
    token: Secret
    note: str = ""


def through_logging(secret: Secret) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    for message, arguments in (("%s %r %s", (secret, secret, {"a": [secret]})), (secret, ())):
        handler.emit(logging.LogRecord("test", logging.DEBUG, __file__, 1, message, arguments, None))
    return stream.getvalue()


def fail_with(secret: Secret) -> str:
    raise ValueError(secret)


def through_traceback(secret: Secret) -> str:
    try:
        return fail_with(secret)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        format,
        "{0!r} {0}".format,
        lambda secret: f"{secret} {secret!r} {secret!s} {secret:>10} {secret:^40}",
        lambda secret: "%s %r %a" % (secret, secret, secret),  # noqa: UP031 - the old way is what is tested
        lambda secret: repr(Holder(secret)),
        lambda secret: repr(dataclasses.asdict(Holder(secret))),
        lambda secret: repr([secret, {secret: secret}]),
        through_logging,
        through_traceback,
        lambda secret: secret.fingerprint,
        lambda secret: repr(dir(secret)),
        lambda secret: repr(hash(secret)),
    ],
)
def test_a_secret_shows_nowhere(shown: object) -> None:
    assert callable(shown)
    assert PLANTED not in shown(Secret(PLANTED))


def test_a_secret_is_not_pickled_and_not_written_as_json() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled") as caught:
            pickle.dumps(Holder(Secret(PLANTED)), protocol)
        assert PLANTED not in str(caught.value)
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(PLANTED)})


def test_a_copy_is_the_secret_itself() -> None:
    secret = Secret(PLANTED)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_a_secret_has_no_other_attributes_and_no_dictionary() -> None:
    with pytest.raises(AttributeError):
        Secret(PLANTED).extra = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        vars(Secret(PLANTED))


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_values_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert (Secret(one) != Secret(other)) == (one != other)
    assert Secret(one) == Secret(Secret(one))
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one).reveal() == one
    assert bool(Secret(one)) == bool(one)


def test_a_secret_is_not_equal_to_its_value() -> None:
    secret: object = Secret(PLANTED)
    assert secret != PLANTED
    assert {PLANTED: 1}.get(secret) is None  # type: ignore[call-overload]


def test_what_the_environment_could_not_decode_is_compared_without_an_error_that_shows_it() -> None:
    odd = PLANTED + "\udcff"
    assert Secret(odd) == Secret(odd)
    assert Secret(odd) != Secret(PLANTED)
    assert len(Secret(odd).fingerprint) == 8


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["x"]])
def test_a_secret_is_made_of_a_string_and_the_error_names_the_type_only(value: object) -> None:
    with pytest.raises(TypeError, match=f"not of {type(value).__name__}$"):
        Secret(value)  # type: ignore[arg-type]


def test_fingerprints_tell_secrets_apart() -> None:
    assert Secret("a").fingerprint != Secret("b").fingerprint
    assert Secret("a").fingerprint == Secret("a").fingerprint == "ca978112"


# --- redact_url -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/path", "https://host/path"),
        ("https://Host:8443/path?a=b&c=d#frag", "https://host:8443/path?a=***&c=***"),
        ("https://user:pw@host/", "https://host/"),
        ("https://[::1]:5035/", "https://[::1]:5035/"),
        ("https://host/?token", "https://host/?***"),
        ("https://host/?&a=b=c&", "https://host/?a=***"),
        ("postgresql://bot:pw@/db", "postgresql:/db"),
        ("bot:pw@host/path", "bot:***@host/path"),
        ("https://user:1/pw@host/", "https://user:1/***@host/"),
        ("https://host/@name", "https://host/***@name"),
        ("https://user:pw@host:port/", "(an address that cannot be read)"),
        ("https://[::1/", "(an address that cannot be read)"),
        ("https://us\u2100er:pw@host/", "(an address that cannot be read)"),
        ("", ""),
        ("@", ""),
    ],
)
def test_an_address_keeps_its_place_and_its_names_and_loses_its_values(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text())
def test_redacting_an_address_takes_any_text(url: str) -> None:
    assert isinstance(redact_url(url), str)


AROUND = st.text(st.sampled_from("abz09:/@?&=#[]%. \\;,\n"), max_size=12)
SAFE = st.text(st.sampled_from("abz09-._~"), min_size=0, max_size=8)


@given(user=AROUND, before=SAFE, after=SAFE)
def test_user_and_password_never_show(user: str, before: str, after: str) -> None:
    assert PLANTED not in redact_url(f"https://{user}:{before}{PLANTED}{after}@host/path")


@given(path=SAFE, name=SAFE, before=AROUND.filter(lambda text: "&" not in text), fragment=AROUND)
def test_values_of_the_query_and_the_fragment_never_show(path: str, name: str, before: str, fragment: str) -> None:
    if "=" not in before and "#" not in before:
        assert PLANTED not in redact_url(f"https://host/{path}?{name}={before}{PLANTED}#{fragment}{PLANTED}")
    assert PLANTED not in redact_url(f"https://host/{path}?{name}=x#{fragment}{PLANTED}")


# --- redact_text ----------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("abcd/ \"'+&é"), min_size=1, max_size=6)


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=6))
@example(["abc", "abcdef"], ["abcdef"])
@example(["abcd", "cdef"], ["abcdef"])
def test_no_secret_is_left_in_a_text_however_they_overlap(values: list[str], pieces: list[str]) -> None:
    secrets = [Secret(value) for value in values]
    for text in ("".join(pieces), "".join(values), "-".join([*values, *pieces])):
        redacted = redact_text(text, secrets)
        assert not any(value in redacted for value in values)


@given(st.text(max_size=30), st.text(st.characters(min_codepoint=33, exclude_characters="*"), min_size=3, max_size=10))
def test_secrets_are_masked_as_urls_and_json_spell_them(around: str, value: str) -> None:
    for form in (value, quote(value, safe="", errors="surrogatepass"), quote_plus(value, errors="surrogatepass"), json.dumps(value)[1:-1]):
        assert form not in redact_text(f"{around}<{form}>", [Secret(value)]).replace(around, "")


def test_a_text_without_secrets_stays_as_it_is_and_an_empty_secret_masks_nothing() -> None:
    assert redact_text("nothing here", [Secret("x-y"), Secret("")]) == "nothing here"
    assert redact_text("a x b x", [Secret("x")]) == f"a {MASK} b {MASK}"
    assert redact_text("xx", [Secret("x")]) == MASK + MASK
