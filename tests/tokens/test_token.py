"""Tokens and slots: what a rotation keeps, what an age means, and that a slot's key reads back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret
from tradesession.tokens.token import Slot, Token

OLD = Token(
    access=Secret("a1"),
    refresh=Secret("r1"),
    issued_at=0.0,
    expires_at=100.0,
    refresh_expires_at=900.0,
    scope="trading",
    generation=4,
)


def test_a_successor_has_the_next_generation_and_its_own_refresh_token() -> None:
    new = OLD.successor(Token(access=Secret("a2"), refresh=Secret("r2")))
    assert (new.generation, new.access, new.refresh, new.refresh_expires_at) == (5, Secret("a2"), Secret("r2"), None)


def test_a_successor_keeps_the_refresh_token_when_none_came() -> None:
    new = OLD.successor(Token(access=Secret("a2")))
    assert (new.generation, new.refresh, new.refresh_expires_at) == (5, Secret("r1"), 900.0)


def test_remaining_and_lifetime() -> None:
    assert OLD.lifetime == 100.0
    assert OLD.remaining(30.0) == 70.0
    assert OLD.remaining(130.0) == -30.0
    bare = Token(access=Secret("a"))
    assert (bare.lifetime, bare.remaining(5.0)) == (None, None)
    assert Token(access=Secret("a"), expires_at=5.0).lifetime is None


def test_the_secret_comes_out_for_a_header_and_nowhere_else() -> None:
    assert OLD.authorization() == "Bearer a1"
    for shown in (repr(OLD), str(OLD), f"{OLD}"):
        assert "a1" not in shown
        assert "r1" not in shown


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
def test_a_key_reads_back(platform: str, environment: str, client: str, subject: str, slot: str) -> None:
    one = Slot(platform, environment, client, subject, slot)
    assert Slot.parse(one.key) == one
    assert one.key.isprintable()
    assert one.key.isascii()


def test_the_unit_is_the_grant() -> None:
    assert Slot("ctrader", "demo", "client").key == "ctrader/demo/client/default/default"
    assert str(Slot("ctrader", "demo", "a/b")) == "ctrader/demo/a%2Fb/default/default"


@pytest.mark.parametrize("key", ["", "a/b", "a/b/c/d/e/f", "a//c/d/e"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no token slot|is empty; name it"):
        Slot.parse(key)


def test_a_name_that_is_no_text_is_refused_without_quoting_it() -> None:
    with pytest.raises(ConfigurationError, match=r"^the subject of a token's slot holds bytes that are no UTF-8 text") as caught:
        Slot("ctrader", "demo", "client", "planted \udce9")
    assert "planted" not in str(caught.value)
