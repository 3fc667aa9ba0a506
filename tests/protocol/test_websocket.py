"""The cutter: with it in front, a full implementation hears the same, whatever comes and however it is chunked."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from tradesession.protocol.websocket import MessageCutter

LONGEST = 200
CAP = 300

FRAMES = st.builds(
    lambda opcode, payload, is_whole: (
        Frame(opcode, payload[:125]) if opcode in (Opcode.PING, Opcode.PONG) else Frame(opcode, payload, fin=is_whole)
    ),
    st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.PONG]),
    st.one_of(st.binary(max_size=5), st.sampled_from([0, 1, 124, 125, 126, 127, 199, 200, 201, 299, 300, 301]).map(bytes)),
    st.sampled_from([True, True, True, False]),
)
STREAMS = st.builds(
    lambda frames, noise, place: insert(b"".join(frame.serialize(mask=False) for frame in frames), noise, place),
    st.lists(FRAMES, max_size=8),
    st.one_of(st.just(b""), st.binary(max_size=3)),
    st.integers(0, 10_000),
)


def insert(data: bytes, noise: bytes, place: int) -> bytes:
    place %= len(data) + 1
    return data[:place] + noise + data[place:]


def chunked(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    return [*chunks, data[start:]]


class Core:
    """The full implementation, and what it heard: messages and their fragments by opcode."""

    def __init__(self) -> None:
        self.protocol = Protocol(CLIENT, max_size=CAP)
        self.heard: list[tuple[Opcode, bytes, bool]] = []
        self.is_in_fragments = False

    def feed(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            self.heard.append((frame.opcode, bytes(frame.data), frame.fin))
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self.is_in_fragments = not frame.fin

    @property
    def error(self) -> str:
        return type(self.protocol.parser_exc).__name__


@given(STREAMS, st.lists(st.integers(0, 40), max_size=12))
@example(b"\x81\x00\x81\x7e\x00", [1, 1, 1])
def test_what_is_heard_is_the_same_with_the_cutter_and_without(data: bytes, sizes: list[int]) -> None:
    alone, behind, cutter = Core(), Core(), MessageCutter(Opcode.TEXT, LONGEST)
    alone.feed(data)
    for chunk in chunked(data, sizes):
        cutter.feed(chunk)
        other = b"first"
        while other and behind.protocol.parser_exc is None:
            messages, other = cutter.take(is_whole=not behind.is_in_fragments)
            behind.heard += [(Opcode.TEXT, message, True) for message in messages]
            behind.feed(other)
    behind.feed(cutter.rest())
    assert behind.heard == alone.heard
    assert behind.error == alone.error


@pytest.mark.parametrize("size", [0, 1, 125, 126, LONGEST])
def test_short_whole_messages_are_cut_however_they_come(size: int) -> None:
    data = 3 * Frame(Opcode.TEXT, bytes(size)).serialize(mask=False)
    for step in range(1, len(data) + 1):
        cutter, found = MessageCutter(Opcode.TEXT, LONGEST), []
        for start in range(0, len(data), step):
            cutter.feed(data[start : start + step])
            messages, other = cutter.take(is_whole=True)
            found += messages
            assert other == b""
        assert found == 3 * [bytes(size)]


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.TEXT, bytes(LONGEST + 1)).serialize(mask=False),
        Frame(Opcode.BINARY, b"x").serialize(mask=False),
        Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=False),
        Frame(Opcode.PING, b"x").serialize(mask=False),
        Frame(Opcode.TEXT, bytes(70_000)).serialize(mask=False),
        b"\x81\x81\0\0\0\0x",
    ],
    ids=["long", "of another kind", "a fragment", "a ping", "very long", "masked"],
)
def test_anything_else_is_passed_on_at_once_and_what_follows_it_is_not(frame: bytes) -> None:
    cutter = MessageCutter(Opcode.TEXT, LONGEST)
    short = Frame(Opcode.TEXT, b"short").serialize(mask=False)
    cutter.feed(short + frame[:-1])
    assert cutter.take(is_whole=True) == ([b"short"], frame[:-1])
    cutter.feed(frame[-1:] + short)
    is_masked = frame[1] >= 0x80
    assert cutter.take(is_whole=True) == ([], frame[-1:] + short if is_masked else frame[-1:])
    assert cutter.take(is_whole=True) == ([] if is_masked else [b"short"], b"")


def test_a_whole_message_between_fragments_is_passed_on_as_it_breaks_the_protocol() -> None:
    cutter = MessageCutter(Opcode.TEXT, LONGEST)
    message = Frame(Opcode.TEXT, b"x").serialize(mask=False)
    cutter.feed(message)
    assert cutter.take(is_whole=False) == ([], message)


def test_what_is_kept_back_can_be_had_once() -> None:
    cutter = MessageCutter(Opcode.TEXT, LONGEST)
    cutter.feed(b"\x81\x05ab")
    assert cutter.take(is_whole=True) == ([], b"")
    assert (cutter.rest(), cutter.rest()) == (b"\x81\x05ab", b"")
