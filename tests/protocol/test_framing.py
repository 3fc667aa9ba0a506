"""Framing: any chunking of any frames gives the same frames, and nothing over the cap gets in."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import ConfigurationError, ProtocolError
from tradesession.protocol.framing import FrameDecoder, encode_frame

FRAMES = st.lists(st.binary(max_size=40), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def feed(decoder: FrameDecoder, *chunks: bytes) -> list[bytes]:
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_of_any_frames_gives_the_same_frames(frames: list[bytes], places: list[int]) -> None:
    decoder = FrameDecoder()
    assert feed(decoder, *cut(b"".join(map(encode_frame, frames)), places)) == frames
    assert decoder.buffered == 0


@given(FRAMES)
def test_one_byte_at_a_time_gives_each_frame_with_its_last_byte(frames: list[bytes]) -> None:
    decoder = FrameDecoder()
    for frame in frames:
        encoded = encode_frame(frame)
        for position in range(len(encoded) - 1):
            assert feed(decoder, encoded[position : position + 1]) == []
            assert decoder.buffered == position + 1
        assert feed(decoder, encoded[-1:]) == [frame]
        assert decoder.buffered == 0


@given(FRAMES)
def test_all_glued_into_one_chunk_gives_them_in_order(frames: list[bytes]) -> None:
    assert feed(FrameDecoder(), b"".join(map(encode_frame, frames))) == frames


@given(FRAMES, st.binary(min_size=1, max_size=40), st.integers(1, 43))
def test_what_is_behind_the_last_whole_frame_is_put_aside(frames: list[bytes], torn: bytes, length: int) -> None:
    decoder = FrameDecoder()
    piece = encode_frame(torn)[: min(length, len(torn) + 3)]
    assert feed(decoder, b"".join(map(encode_frame, frames)) + piece) == frames
    assert decoder.buffered == len(piece)


def test_a_frame_is_its_length_in_network_order_and_its_bytes() -> None:
    assert encode_frame(b"abc") == b"\x00\x00\x00\x03abc"
    assert encode_frame(b"") == b"\x00\x00\x00\x00"
    assert encode_frame(bytes(70_000))[:4] == struct.pack(">I", 70_000)


def test_frames_are_bytes_whatever_buffer_they_passed_through() -> None:
    (frame,) = feed(FrameDecoder(), b"\x00\x00", b"\x00\x02a", b"b")
    assert type(frame) is bytes


@pytest.mark.parametrize("split", range(5))
def test_a_frame_of_the_cap_passes_and_one_byte_more_is_refused_at_its_prefix(split: int) -> None:
    exact = encode_frame(bytes(10))
    assert feed(FrameDecoder(10), exact[:split], exact[split:]) == [bytes(10)]
    prefix = struct.pack(">I", 11)
    decoder = FrameDecoder(10)
    with pytest.raises(ProtocolError, match="a frame of 11 bytes, and the cap is 10"):
        feed(decoder, prefix[:split], prefix[split:])
    assert decoder.buffered == 0


@given(FRAMES, st.integers(41, 2**32 - 1), st.binary(max_size=30), st.lists(st.integers(0, 10_000), max_size=10))
def test_frames_before_a_bad_prefix_arrive_and_the_decoder_is_spent_then(
    frames: list[bytes], length: int, behind: bytes, places: list[int]
) -> None:
    decoder = FrameDecoder(40)
    arrived: list[bytes] = []

    def read() -> None:
        for chunk in cut(b"".join(map(encode_frame, frames)) + struct.pack(">I", length) + behind, places):
            for frame in decoder.feed(chunk):
                arrived.append(frame)

    with pytest.raises(ProtocolError):
        read()
    assert arrived == frames
    with pytest.raises(ProtocolError, match="open a new connection"):
        feed(decoder, encode_frame(b"fine"))
    assert decoder.buffered == 0


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 60))
def test_garbage_takes_no_more_memory_than_the_cap_and_one_chunk(garbage: bytes, size: int) -> None:
    decoder = FrameDecoder(100)
    try:
        for start in range(0, len(garbage), size):
            feed(decoder, garbage[start : start + size])
            assert decoder.buffered < 4 + 100
    except ProtocolError:
        assert decoder.buffered == 0


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_that_lets_nothing_pass_is_refused(cap: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_frame={cap} "):
        FrameDecoder(cap)


def test_the_cap_is_the_policys_unless_told_otherwise() -> None:
    decoder = FrameDecoder()
    assert feed(decoder, struct.pack(">I", policy.MAX_FRAME)) == []
    with pytest.raises(ProtocolError, match="max_frame must be raised"):
        feed(FrameDecoder(), struct.pack(">I", policy.MAX_FRAME + 1))


def test_a_large_frame_in_small_pieces_takes_linear_time() -> None:
    payload = bytes(4_000_000)
    encoded = encode_frame(payload)
    decoder = FrameDecoder()
    arrived = [frame for start in range(0, len(encoded), 4096) for frame in decoder.feed(encoded[start : start + 4096])]
    assert arrived == [payload]
