"""Options from environment variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tradesession.errors import ConfigurationError
from tradesession.options import boolean, integers, read_options, suggestion, words

READERS: Mapping[str, Callable[[str], Any]] = {"host": str, "port": int, "plaintext": boolean, "accounts": integers, "brokers": words}


def test_variables_with_the_prefix_are_read_and_others_are_not_ours() -> None:
    environ = {
        "P_HOST": "h",
        "P_PORT": "5",
        "P_PLAINTEXT": "yes",
        "P_ACCOUNTS": "1, 2 3",
        "P_BROKERS": "a,b",
        "PATH": "x",
        "OTHER_HOST": "y",
    }
    assert read_options(environ, "P_", READERS) == {"host": "h", "port": 5, "plaintext": True, "accounts": (1, 2, 3), "brokers": ("a", "b")}


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
