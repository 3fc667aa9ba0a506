"""EventStream: order, bounds, gaps, and both kinds of end."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.lines import turns
from tradesession.errors import ConfigurationError, LinkLost, StreamOverflow
from tradesession.session.streams import EventStream, Gap, StreamStatistics

pytestmark = pytest.mark.usefixtures("leaks")


def stream_of(*events: int, limit: int = 100, gaps: bool = False, **options: object) -> EventStream[int | Gap]:
    stream: EventStream[int | Gap] = EventStream("numbers", limit=limit, gaps=gaps, **options)  # type: ignore[arg-type]  # of all types
    for event in events:
        stream.put_nowait(event)
    return stream


def statistics(**counts: int) -> StreamStatistics:
    return StreamStatistics(**{"received": 0, "delivered": 0, "dropped": 0, "replaced": 0, "gaps": 0, "queued": 0} | counts)


def loss(since: float, until: float) -> Gap:
    return Gap("the connection was lost", since=since, until=until)


async def rest(stream: EventStream[int | Gap]) -> list[int | Gap]:
    return [event async for event in stream]


async def test_events_come_in_order_from_the_moment_the_stream_exists() -> None:
    stream = stream_of(1, 2, 3)
    assert [await anext(stream), await anext(stream)] == [1, 2]
    stream.put_nowait(4)
    assert [await anext(stream), await anext(stream)] == [3, 4]


async def test_a_reader_waits_for_the_next_event() -> None:
    stream = stream_of()
    reader = asyncio.ensure_future(anext(stream))
    await turns()
    assert not reader.done()
    stream.put_nowait(1)
    stream.put_nowait(2)
    assert await reader == 1
    assert await anext(stream) == 2


async def test_a_slow_reader_loses_the_oldest_and_is_told_only_if_it_asked() -> None:
    assert await anext(stream_of(1, 2, 3, 4, 5, limit=3)) == 3
    stream = stream_of(1, 2, 3, 4, 5, limit=3, gaps=True)
    assert [await anext(stream) for _ in range(4)] == [Gap("the reader of 'numbers' was too slow", dropped=2), 3, 4, 5]


async def test_whoever_counts_hears_once_for_each_time_that_a_queue_overflows() -> None:
    heard: list[int] = []
    stream = stream_of(1, 2, 3, 4, 5, limit=2, on_drop=heard.append)
    assert heard == [1]
    assert await anext(stream) == 4
    for event in (6, 7, 8):
        stream.put_nowait(event)
    assert heard == [1, 3]
    assert stream.statistics() == statistics(received=8, delivered=1, dropped=5, queued=2)
    stream.end()
    assert heard == [1, 3, 1], "what was dropped since is told at the end"


@given(limit=st.integers(1, 5), script=st.lists(st.booleans(), max_size=60))
def test_nothing_is_lost_without_a_gap_that_counts_it_and_nothing_comes_twice(limit: int, script: list[bool]) -> None:
    async def play() -> None:
        stream = stream_of(limit=limit, gaps=True)
        expected = 0
        number = 0

        async def read() -> None:
            nonlocal expected
            event = await anext(stream)
            if isinstance(event, Gap):
                expected += event.dropped
            else:
                assert event == expected
                expected += 1

        for put in script:
            if put:
                stream.put_nowait(number)
                number += 1
            elif stream.statistics().queued:
                await read()
        stream.end()
        try:
            while True:
                await read()
        except StopAsyncIteration:
            pass
        assert expected == number
        counts = stream.statistics()
        assert (counts.received, counts.queued) == (number, 0)
        assert counts.delivered + counts.dropped == number

    asyncio.run(play())


async def test_a_quiet_end_comes_behind_what_is_queued() -> None:
    stream = stream_of(1, 2)
    stream.end()
    stream.put_nowait(3)
    assert stream.has_ended
    assert await rest(stream) == [1, 2]
    assert await rest(stream) == []


async def test_an_end_with_a_cause_raises_it_behind_what_is_queued_and_to_everybody_who_asks_again() -> None:
    stream = stream_of(1)
    cause = LinkLost("the cable")
    stream.end(cause)
    stream.end()
    assert await anext(stream) == 1
    for _ in range(3):
        with pytest.raises(LinkLost) as caught:
            await anext(stream)
        assert caught.value is cause
        assert len(caught.traceback) < 4  # it does not grow with each asking


@pytest.mark.parametrize("cause", [None, LinkLost("the cable")])
async def test_a_reader_who_waits_is_woken_by_the_end(cause: LinkLost | None) -> None:
    stream = stream_of()
    reader = asyncio.ensure_future(rest(stream))
    await turns()
    stream.end(cause)
    if cause is None:
        assert await reader == []
    else:
        with pytest.raises(LinkLost):
            await reader


async def test_a_reader_who_gives_up_while_waiting_loses_nothing() -> None:
    stream = stream_of()
    reader = asyncio.ensure_future(anext(stream))
    await turns()
    stream.put_nowait(1)
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert await anext(stream) == 1


async def test_two_readers_at_once_are_refused_and_the_first_goes_on() -> None:
    stream = stream_of()
    first = asyncio.ensure_future(anext(stream))
    await turns()
    with pytest.raises(RuntimeError, match="'numbers' is read by two tasks at once"):
        await anext(stream)
    stream.put_nowait(1)
    assert await first == 1


async def test_an_event_that_somebody_else_took_meanwhile_is_waited_for_again() -> None:
    stream = stream_of()
    waiting = asyncio.ensure_future(anext(stream))
    await turns()
    stream.put_nowait(1)
    assert await anext(stream) == 1
    await turns()
    assert not waiting.done()
    stream.put_nowait(2)
    assert await waiting == 2


async def test_leaving_the_context_ends_the_stream_once_and_lets_go_of_what_is_queued() -> None:
    closed: list[int] = []
    async with stream_of(1, 2, on_close=lambda: closed.append(1)) as stream:
        assert await anext(stream) == 1
    await stream.aclose()
    assert closed == [1]
    assert await rest(stream) == []
    assert stream.statistics() == statistics(received=2, delivered=1)


async def test_an_overflow_before_the_close_leaves_no_gap_behind_it() -> None:
    stream = stream_of(1, 2, 3, limit=1, gaps=True)
    await stream.aclose()
    assert await rest(stream) == []


# --- gaps of a loss -----------------------------------------------------------------------------------------------------------------


async def test_a_loss_is_told_where_it_happened_and_only_to_those_who_asked() -> None:
    stream, deaf = stream_of(1, gaps=True), stream_of(1)
    for one in (stream, deaf):
        one.put_gap(loss(10, 20))
        one.put_nowait(2)
        one.end()
        one.put_gap(loss(30, 40))
    assert await rest(stream) == [1, loss(10, 20), 2]
    assert await rest(deaf) == [1, 2]
    assert (stream.statistics().gaps, deaf.statistics().gaps) == (1, 0)


async def test_a_loss_wakes_a_reader_who_waits() -> None:
    stream = stream_of(gaps=True)
    reader = asyncio.ensure_future(anext(stream))
    await turns()
    stream.put_gap(loss(10, 20))
    assert await reader == loss(10, 20)


async def test_losses_with_nothing_between_them_are_one() -> None:
    stream = stream_of(gaps=True)
    stream.put_gap(loss(10, 20))
    stream.put_gap(loss(30, 40))
    assert await anext(stream) == loss(10, 40)
    assert stream.statistics().gaps == 1


async def test_a_loss_that_an_overflow_meets_is_told_with_what_was_dropped_around_it() -> None:
    stream = stream_of(1, 2, limit=3, gaps=True)
    stream.put_gap(loss(10, 20))
    for event in (3, 4, 5, 6):
        stream.put_nowait(event)
    stream.end()
    gap, *events = await rest(stream)
    assert gap == Gap("the connection was lost", dropped=3, since=10, until=20)
    assert events == [4, 5, 6]


async def test_several_losses_that_overflows_meet_are_told_from_the_first_to_the_last() -> None:
    stream = stream_of(limit=2, gaps=True)
    for number in range(3):
        stream.put_gap(loss(10 * number, 10 * number + 5))
        stream.put_nowait(number)
    stream.put_nowait(3)
    stream.put_nowait(4)
    stream.end()
    gap, *events = await rest(stream)
    assert gap == Gap("the connection was lost", dropped=3, since=0, until=25)
    assert events == [3, 4]


async def test_a_loss_alone_in_a_full_queue_makes_room_without_dropping_anything() -> None:
    stream = stream_of(limit=1, gaps=True)
    stream.put_gap(loss(10, 20))
    stream.put_nowait(1)
    stream.end()
    assert await rest(stream) == [loss(10, 20), 1]
    assert stream.statistics() == statistics(received=1, delivered=1, gaps=1)


# --- the other rules ------------------------------------------------------------------------------------------------------------------


async def test_of_each_key_only_the_newest_is_kept_in_the_place_of_the_first() -> None:
    stream = stream_of(1, 2, 11, 21, 12, limit=1, overflow="latest", key=lambda number: number % 10)
    assert [await anext(stream), await anext(stream)] == [21, 12]
    stream.put_nowait(31)
    assert await anext(stream) == 31
    assert stream.statistics() == statistics(received=6, delivered=3, replaced=3)


@pytest.mark.parametrize(("key", "raised"), [(lambda number: 1 // number, ZeroDivisionError), (lambda number: [number], TypeError)])
async def test_a_key_that_fails_is_told_to_the_reader_and_not_to_the_link(key: object, raised: type[Exception]) -> None:
    stream = stream_of(0, overflow="latest", key=key)
    with pytest.raises(raised):
        await anext(stream)
    assert stream.has_ended


async def test_a_loss_between_the_newest_is_told_too() -> None:
    stream = stream_of(1, overflow="latest", key=lambda number: number % 10, gaps=True)
    stream.put_gap(loss(10, 20))
    stream.put_nowait(2)
    stream.put_nowait(11)
    stream.end()
    assert await rest(stream) == [11, loss(10, 20), 2]


async def test_a_stream_that_must_deliver_ends_behind_what_it_could_hold_and_says_so() -> None:
    stream = stream_of(1, 2, 3, 4, limit=2, overflow="must_deliver")
    assert [await anext(stream), await anext(stream)] == [1, 2]
    with pytest.raises(StreamOverflow, match="the reader of 'numbers' fell behind by 2 events"):
        await anext(stream)


async def test_a_stream_that_must_deliver_loses_nothing_while_its_reader_keeps_up() -> None:
    stream = stream_of(limit=2, overflow="must_deliver")
    for number in range(100):
        stream.put_nowait(number)
        assert await anext(stream) == number
    assert not stream.has_ended


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 0}, "limit=0 holds no event"),
        ({"limit": -1}, "limit=-1 holds no event"),
        ({"overflow": "newest"}, "overflow='newest' is no rule; there are drop_oldest, latest, must_deliver"),
        ({"overflow": "latest"}, "overflow='latest' wants a key"),
        ({"overflow": "must_deliver", "key": str}, "overflow='must_deliver' has no use for a key"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        EventStream("x", **options)  # type: ignore[arg-type]  # that is the point


# --- a slow reader ---------------------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_through_a_million_events_costs_bounded_memory_and_keeps_the_order() -> None:
    quotes: EventStream[int | Gap] = EventStream("quotes", limit=1000, gaps=True)
    newest: EventStream[tuple[int, int]] = EventStream("newest", overflow="latest", key=lambda event: event[0])
    executions: EventStream[int] = EventStream("executions", overflow="must_deliver", limit=1001)
    seen: list[int] = []
    dropped = 0
    for number in range(1_000_000):
        quotes.put_nowait(number)
        newest.put_nowait((number % 50, number))
        if number % 1000 == 0:
            executions.put_nowait(number)
        if number % 5000 == 0:
            event = await anext(quotes)
            if isinstance(event, Gap):
                dropped += event.dropped
            else:
                seen.append(event)
    assert quotes.statistics().queued <= 1000
    assert newest.statistics().queued == 50
    while quotes.statistics().queued:
        event = await anext(quotes)
        if isinstance(event, Gap):
            dropped += event.dropped
        else:
            seen.append(event)
    assert seen == sorted(seen)
    assert len(seen) + dropped == 1_000_000
    assert [(await anext(newest))[1] for _ in range(50)] == list(range(999_950, 1_000_000))
    assert [await anext(executions) for _ in range(1000)] == list(range(0, 1_000_000, 1000))


async def test_a_paused_stream_takes_nothing_until_half_of_its_queue_is_read() -> None:
    drops: list[int] = []
    stream: EventStream[int | Gap] = EventStream("numbers", limit=4, overflow="pause", gaps=True, on_drop=drops.append)
    for number in range(10):
        stream.put_nowait(number)
    assert [await anext(stream), await anext(stream)] == [0, 1]
    stream.put_nowait(10)
    assert [await anext(stream) for _ in range(4)] == [2, 3, Gap("the reader of 'numbers' was too slow", dropped=6), 10]
    assert drops == [1]
    assert stream.statistics().dropped == 6
    await stream.aclose()
    await stream.aclose()
    assert drops == [1, 5]
