"""The page about sessions: its test passes, and the faults that it names are those that there are."""

from __future__ import annotations

import re
from typing import Any

from tests.docs.test_platform_pages import ROOT, blocks_of
from tradesession.sandbox.proxy import ProxySwitches

PAGE = ROOT / "docs" / "sessions.md"


def test_the_test_on_the_page_passes() -> None:
    (block,) = blocks_of(PAGE)
    names: dict[str, Any] = {}
    exec(block, names)
    next(value for name, value in names.items() if name.startswith("test_"))()


def test_the_page_names_the_faults_of_a_network() -> None:
    told = PAGE.read_text(encoding="utf-8").partition("`proxy.faults` has")[2].partition(";")[0]
    at_a_byte = {"cut_to_client", "cut_to_server", "ending", "garbage_to_client", "garbage_to_server"}
    assert set(re.findall(r"`(\w+)`", told)) == set(ProxySwitches().values()) - at_a_byte
