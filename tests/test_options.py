"""Options from environment variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pytest

from tradesession.errors import ConfigurationError
from tradesession.options import (
    boolean,
    integers,
    keep_path,
    keep_secret,
    option_names,
    read_options,
    readers,
    refuse_unknown,
    require_above_zero,
    require_one_of,
    require_text,
    suggestion,
    titles,
)
from tradesession.secrets import Secret

READERS: Mapping[str, Callable[[str], Any]] = {"host": str, "port": int, "plaintext": boolean, "accounts": integers, "brokers": titles}


def test_variables_with_the_prefix_are_read_and_others_are_not_ours() -> None:
    environ = {
        "P_HOST": "h",
        "P_PORT": "5",
        "P_PLAINTEXT": "yes",
        "P_ACCOUNTS": "1, 2 3",
        "P_BROKERS": "IC Markets, b,",
        "PATH": "x",
        "OTHER_HOST": "y",
    }
    assert read_options(environ, "P_", READERS) == {
        "host": "h",
        "port": 5,
        "plaintext": True,
        "accounts": (1, 2, 3),
        "brokers": ("IC Markets", "b"),
    }


def test_a_variable_that_is_set_to_nothing_counts_as_not_set() -> None:
    assert read_options({"P_HOST": "", "P_HOSTT": ""}, "P_", READERS) == {}


def test_a_misspelt_variable_says_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"P_HOSTT is no option; did you mean P_HOST\?"):
        read_options({"P_HOSTT": "h"}, "P_", READERS)


def test_a_variable_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(
        ConfigurationError, match="P_XYZZY is no option; the known ones are P_ACCOUNTS, P_BROKERS, P_HOST, P_PLAINTEXT, P_PORT"
    ):
        read_options({"P_XYZZY": "h"}, "P_", READERS)


@pytest.mark.parametrize(("variable", "text"), [("P_PORT", "many"), ("P_ACCOUNTS", "1,x"), ("P_PLAINTEXT", "perhaps")])
def test_a_value_that_cannot_be_read_names_its_variable(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable} does not hold what it should: "):
        read_options({variable: text}, "P_", READERS)


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_words_for_true(text: str) -> None:
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["0", "False", "no", "OFF"])
def test_words_for_false(text: str) -> None:
    assert boolean(text) is False


def test_a_boolean_is_nothing_else() -> None:
    with pytest.raises(ValueError, match="use true or false"):
        boolean("2")


def test_the_nearest_name_is_suggested() -> None:
    assert suggestion("acounts", ["accounts", "brokers"]) == "did you mean accounts?"
    assert suggestion("zz", ["b", "a"]) == "the known ones are a, b"


@dataclass
class Told:
    name: str = ""
    port: int = 0
    timeout: float = 0.0
    plaintext: bool = False
    logins: Sequence[int] = ()
    brokers: Sequence[str] = ()
    auth: Any = None
    kept: None = field(default=None, init=False)


def test_options_are_read_by_the_annotations_of_their_fields() -> None:
    texts = {"name": "x", "port": "7", "timeout": "0.5", "plaintext": "yes", "logins": "1 2", "brokers": "a b, c"}
    found = readers(Told, "auth")
    assert {name: found.pop(name)(text) for name, text in texts.items()} == {
        "name": "x", "port": 7, "timeout": 0.5, "plaintext": True, "logins": (1, 2), "brokers": ("a b", "c")
    }  # fmt: skip
    assert not found


@pytest.mark.parametrize(
    ("name", "said"), [("demmo", "'demmo' is none of demo, live; did you mean demo?"), ("x", "'x' is none of demo, live")]
)
def test_a_choice_that_there_is_not_lists_the_others_once(name: str, said: str) -> None:
    require_one_of(Told(name="live"), "name", ("demo", "live"))
    with pytest.raises(ConfigurationError) as caught:
        require_one_of(Told(name=name), "name", ("demo", "live"))
    assert str(caught.value) == f"name={said}"


@dataclass(frozen=True)
class Options:
    key: str | Secret | None = "key"
    name: str | None = "name"
    delay: float = 1.0


def test_what_is_secret_becomes_a_secret_and_nothing_none() -> None:
    options, empty = Options(), Options(key="")
    keep_secret(options, "key")
    keep_secret(empty, "key")
    assert (options.key, empty.key) == (Secret("key"), None)


def test_a_path_becomes_a_text_and_none_stays_none() -> None:
    options = Told(name="x", auth=PurePosixPath("a/b"))
    keep_path(options, "auth")
    assert options.auth == "a/b"
    keep_path(options, "kept")
    assert options.kept is None


@pytest.mark.parametrize("options", [Options(name="\udcff"), Options(key=Secret("\udcff"))])
def test_bytes_that_are_no_text_are_refused_and_not_shown(options: Options) -> None:
    require_text(Options(name=None), "name", "key")
    with pytest.raises(ConfigurationError, match=r"^(name|key) holds bytes that are no UTF-8 text; set it anew$"):
        require_text(options, "name", "key")


@pytest.mark.parametrize("delay", [0, -1, float("nan")])
def test_what_must_be_above_zero_is(delay: float) -> None:
    require_above_zero(Options(), "delay")
    with pytest.raises(ConfigurationError, match=f"^delay={delay:g} must be above 0$"):
        require_above_zero(Options(delay=delay), "delay")


def test_an_option_that_does_not_exist_is_named_with_what_was_meant() -> None:
    refuse_unknown("x.Config", ["name", "delay"], option_names(Options))
    with pytest.raises(ConfigurationError, match=r"^dealy is no option of x\.Config; did you mean delay\?$"):
        refuse_unknown("x.Config", ["name", "dealy"], option_names(Options))
