"""The defaults, against each other and against what the platforms allow."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

from tradesession import policy

NUMBERS = {name: value for name, value in vars(policy).items() if name.isupper()}


def test_every_default_is_a_positive_number() -> None:
    assert NUMBERS
    assert all(isinstance(value, int | float) and value > 0 for value in NUMBERS.values())


def test_every_default_has_its_reason() -> None:
    body = ast.parse(Path(policy.__file__).read_text(encoding="utf-8")).body
    reasons = {
        node.target.id
        for node, after in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr)
    }
    assert reasons == set(NUMBERS)


def test_a_connection_stays_below_the_quotas_of_the_open_api() -> None:
    assert policy.REQUESTS_PER_SECOND + policy.REQUEST_BURST <= 50
    assert policy.HISTORICAL_REQUESTS_PER_SECOND + 1 <= 5


def test_several_heartbeats_fit_into_the_servers_patience_and_ours() -> None:
    assert policy.HEARTBEAT_INTERVAL < 30
    assert policy.LIVENESS_TIMEOUT > policy.HEARTBEAT_INTERVAL
    assert policy.LIVENESS_TIMEOUT > 30, "a server speaks every 25 to 30 s"
