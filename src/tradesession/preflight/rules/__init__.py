"""Everything that a preflight looks for, in the order of a report. Each check is a function of the evidence and of nothing else."""

from __future__ import annotations

from typing import Final

from tradesession.preflight.report import Rule
from tradesession.preflight.rules import groups, history, streaming, symbols, tokens

RULES: Final[tuple[Rule, ...]] = (*tokens.RULES, *groups.RULES, *symbols.RULES, *history.RULES, *streaming.RULES)
