"""Lines: the same however the bytes are cut, and never longer than the limit."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ProtocolError
from tradesession.protocol.lines import LineReader

LINES = st.lists(st.binary(min_size=1, max_size=12).filter(lambda line: b"\n" not in line and line.strip() and not line.endswith(b"\r")))


@given(LINES, st.lists(st.integers(0, 100)), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"]))
def test_the_lines_do_not_depend_on_how_the_bytes_are_cut(lines: list[bytes], cuts: list[int], ending: bytes) -> None:
    data = b"".join(line + ending for line in lines)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    reader = LineReader(100)
    found = [line for start, end in itertools.pairwise(places) for line in reader.feed(data[start:end])]
    assert found == lines
    assert reader.pending == 0


def test_an_unfinished_line_is_pending_and_no_line() -> None:
    reader = LineReader(100)
    assert reader.feed(b"one\ntw") == [b"one"]
    assert reader.pending == 2
    assert reader.feed(b"o\n") == [b"two"]


@pytest.mark.parametrize("data", [b"x" * 11, b"x" * 11 + b"\n"])
def test_a_line_above_the_limit_is_refused_whether_or_not_it_ends(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="more than 10 bytes"):
        LineReader(10).feed(data)


def test_a_line_at_the_limit_passes() -> None:
    assert LineReader(10).feed(b"x" * 10 + b"\n") == [b"x" * 10]
