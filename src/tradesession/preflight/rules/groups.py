"""Rules about /groups and how /symbol_info divides into them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from tradesession.preflight.evidence import Evidence
from tradesession.preflight.exchange import Exchange, brief
from tradesession.preflight.report import Problem, Rules
from tradesession.preflight.rules.common import DATA_TESTS, answered, enveloped, need, typed

RULES: Final = Rules()
rule = RULES.rule

MANUAL: Final = "Broker Integration Manual, data: groups"
TEST: Final = DATA_TESTS + "groupsResponseFieldsCorrectness"
MOST: Final = 10
LARGEST: Final = 10_000
_ID: Final = re.compile(r"[a-z_]+")


def _groups(evidence: Evidence) -> Exchange:
    need(evidence.groups, "there is no token to ask with")
    need(evidence.uses_groups, "the server has no groups")
    assert evidence.groups is not None
    return evidence.groups


@rule("groups.answer", "/groups answers with HTTP 200", TEST)
def _answer(evidence: Evidence) -> Iterator[Problem]:
    yield from answered([_groups(evidence)])


@rule("groups.content-type", "its Content-Type has application/json", TEST)
def _content_type(evidence: Evidence) -> Iterator[Problem]:
    yield from typed([_groups(evidence)])


@rule("groups.envelope", "it is a JSON object with s=ok and d.groups, an array of objects with an id", TEST)
def _envelope(evidence: Evidence) -> Iterator[Problem]:
    one = _groups(evidence)
    yield from enveloped([one])
    if one.is_ok and ids(one) is None:
        yield Problem("d.groups as an array of objects with an id", brief((one.reply or {}).get("d")), one.what)


@rule("groups.ids", "an id is made of lower-case Latin letters and underscores", TEST)
def _ids(evidence: Evidence) -> Iterator[Problem]:
    for one in _known(evidence):
        if not isinstance(one, str) or not _ID.fullmatch(one):
            yield Problem("a text of a-z and _", brief(one), "/groups")


@rule("groups.prefix", "all ids begin with the same prefix, which ends with an underscore", TEST)
def _prefix(evidence: Evidence) -> Iterator[Problem]:
    known = [one for one in _known(evidence) if isinstance(one, str)]
    if len({one.partition("_")[0] for one in known}) > 1 or any("_" not in one for one in known):
        yield Problem("one prefix that ends with _", ", ".join(brief(one) for one in known), "/groups")


@rule("groups.count", f"there are {MOST} groups at most", MANUAL)
def _count(evidence: Evidence) -> Iterator[Problem]:
    known = _known(evidence)
    if not 0 < len(known) <= MOST:
        yield Problem(f"1 to {MOST} groups", f"{len(known)}", "/groups", is_warning=not known)  # nobody forbids to have none


@rule("groups.size", f"a group has {LARGEST} symbols at most", MANUAL)
def _size(evidence: Evidence) -> Iterator[Problem]:
    for group, names in _members(evidence).items():
        if len(names) > LARGEST:
            yield Problem(f"at most {LARGEST} symbols", f"{len(names)}", f"group {group}")


@rule("groups.disjoint", "a symbol is in one group only", MANUAL)
def _disjoint(evidence: Evidence) -> Iterator[Problem]:
    for name, count in Counter(name for names in _members(evidence).values() for name in names).items():
        if count > 1:
            yield Problem("in one group", f"in {count}", f"symbol {name}")


def ids(exchange: Exchange) -> list[Any] | None:
    """The ids of an answer, whatever they are; None when it is none."""
    inner = (exchange.reply or {}).get("d")
    found = inner.get("groups") if isinstance(inner, dict) else None
    if not exchange.is_ok or not isinstance(found, list) or not all(isinstance(one, dict) and "id" in one for one in found):
        return None
    return [one["id"] for one in found]


def _known(evidence: Evidence) -> list[Any]:
    known = ids(_groups(evidence))
    need(known is not None, "/groups has no usable answer")
    return known or []


def _members(evidence: Evidence) -> dict[str, set[str]]:
    """The symbols of each group that could be read."""
    _known(evidence)
    found: dict[str, set[str]] = {}
    for group, exchange in evidence.symbol_infos.items():
        column = (exchange.reply or {}).get("symbol") if exchange.is_ok else None
        if group and isinstance(column, list):
            found[group] = {name for name in column if isinstance(name, str)}
    need(found, "no group's symbols could be read")
    return found
