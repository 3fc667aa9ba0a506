"""Verdicts: what goes with what, and how one reads."""

from __future__ import annotations

import pytest

from tradesession.verdict import Action, Level, Verdict


@pytest.mark.parametrize("action", Action)
def test_seconds_go_with_retry_after_and_with_nothing_else(action: Action) -> None:
    waits = action is Action.RETRY_AFTER
    assert Verdict(action, Level.LINK, 2.0 if waits else None).action is action
    with pytest.raises(ValueError, match="belongs to RETRY_AFTER"):
        Verdict(action, Level.LINK, None if waits else 2.0)


def test_only_retries_are_retryable_and_only_consent_needs_a_human() -> None:
    verdicts = [Verdict(action, Level.TOKEN, 1.0 if action is Action.RETRY_AFTER else None) for action in Action]
    assert [v.action for v in verdicts if v.is_retryable] == [Action.RETRY, Action.RETRY_AFTER]
    assert [v.action for v in verdicts if v.needs_human] == [Action.REAUTHORIZE]


def test_a_verdict_reads_as_words() -> None:
    assert str(Verdict(Action.RETRY_AFTER, Level.REQUEST, 1.5)) == "retry_after after 1.5 s (request)"
    assert str(Verdict(Action.FATAL, Level.LINK)) == "fatal (link)"
