"""What it costs to be handed a token that is good: `await keeper.get()` beside Authlib's `await client.ensure_active_token(token)`."""

from __future__ import annotations

from typing import Final

from bench.results import Options, Result, results
from bench.subjects import Running, Subject, alternate, at_work
from tests.interop.environments import AUTHLIB

KEEPER: Final = Subject("TokenKeeper.get()", "programs.token")
AUTHLIBS: Final = Subject("Authlib, ensure_active_token()", "foreign.authlib_token", 1, AUTHLIB)


def token(options: Options) -> list[Result]:
    """Both in turn, round after round."""
    rounds, count = options.pick((5, 20_000), (15, 200_000))

    def measure(one: Running) -> float:
        cpu: float = one.ask(do="calls", count=count)["cpu"]
        return cpu / count * 1e6

    with at_work([KEEPER, AUTHLIBS]) as running:
        found = alternate(running, rounds, measure)
    return results("token", "µs CPU per call", found, base=AUTHLIBS.name)
