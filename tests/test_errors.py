"""The exception tree: one root, one line each, and what may be caught as what."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradesession
from tradesession import errors
from tradesession.errors import (
    DeadlineExceeded,
    Error,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    Rejected,
    TokenEndpointUnreachable,
    TokenRefused,
    Unreachable,
)
from tradesession.verdict import Action, Level, Verdict

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Error)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_exception_has_a_verdict_and_a_docstring_and_is_public(cls: type[Error]) -> None:
    assert isinstance(cls.verdict, Verdict)
    assert cls.__doc__
    assert getattr(tradesession, cls.__name__) is cls
    assert f"{cls.__name__} " in str(errors.__doc__).replace("\n", " ")  # the tree


def test_branches_may_be_caught_as_what_python_calls_them() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(InvalidRequest, NotSent)
    assert issubclass(Unreachable, NotSent)


def test_a_refusal_names_request_account_code_description_and_remedy() -> None:
    refusal = Rejected("MARKET_CLOSED", "Market is closed", remedy="wait", request="ProtoOANewOrderReq", account_id=7)
    assert str(refusal) == "ProtoOANewOrderReq for account 7 was refused with MARKET_CLOSED (Market is closed): wait"
    assert (refusal.code, refusal.description, refusal.remedy, refusal.account_id) == ("MARKET_CLOSED", "Market is closed", "wait", 7)


def test_a_refusal_needs_nothing_but_its_code() -> None:
    refusal = Rejected("X")
    assert str(refusal) == "the request was refused with X"
    assert (refusal.verdict, refusal.retry_after) == (Error.verdict, None)


def test_the_judges_verdict_replaces_the_default_of_one_refusal_only() -> None:
    verdict = Verdict(Action.RETRY_AFTER, Level.REQUEST, 3.0)
    assert Rejected("X", verdict=verdict, retry_after=3.0).verdict is verdict
    assert Rejected("Y").verdict is Error.verdict


@given(st.text(max_size=2000))
def test_whatever_a_server_says_is_one_line_of_bounded_length_in_the_message_and_whole_in_the_attribute(said: str) -> None:
    refusal = Rejected("X", said)
    assert len(str(refusal).splitlines()) == 1
    assert len(str(refusal)) < 400
    assert refusal.description == said


def test_a_description_that_was_cut_says_so() -> None:
    assert str(Rejected("X", "a" * 301)).endswith("a…)")
    assert str(Rejected("X", "a" + " " * 1000)).endswith("(a…)")
    assert str(Rejected("X", "a" * 300)).endswith("a)")


async def test_an_unknown_outcome_is_settled_by_the_platform_or_not_at_all() -> None:
    unknown = OutcomeUnknown("it left, and no answer came")
    with pytest.raises(OutcomeUnknown) as caught:
        await unknown.settle()
    assert caught.value is unknown

    async def ask() -> str:
        return "executed"

    unknown.settler = ask
    assert await unknown.settle() == "executed"


def test_token_errors_carry_what_the_endpoint_said() -> None:
    refused = TokenRefused("no", code="invalid_client", description="who?")
    assert (str(refused), refused.code, refused.description) == ("no", "invalid_client", "who?")
    assert TokenEndpointUnreachable("down", retry_after=30.0).retry_after == 30.0
