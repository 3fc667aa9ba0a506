"""Rules about /streaming. Pure.

Four connections were open side by side for a while, as TradingView keeps them; times are compared with the clock of this machine.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

from tradesession.preflight.evidence import Evidence, Line, Stream, Symbol
from tradesession.preflight.exchange import brief, is_integer, is_number, parse
from tradesession.preflight.report import Problem, Rules
from tradesession.preflight.rules.common import DATA_TESTS, answered, need

RULES: Final = Rules()
rule = RULES.rule

MANUAL: Final = "Broker Integration Manual, data: streaming"
LATEST: Final = 5.0
"""Seconds after which a message is too late."""
DIFFERENT: Final = 0.05
"""Share of messages or bars that may differ."""
EDGE: Final = 3.0
"""Seconds at both ends of a stream that are not compared with others: they were not opened and closed at the same moment."""
PRICES: Final = {"q": ("ap", "bp"), "t": ("p",), "d": ("o", "h", "l", "c"), "a": ("p",), "b": ("p",)}
SIZES: Final = {"q": ("as", "bs"), "t": (), "d": ("v",), "a": (), "b": ()}

Message = dict[str, Any]


def _open(evidence: Evidence) -> list[Stream]:
    need(evidence.streams, "no symbol is known, or there is no token to ask with")
    good = [stream for stream in evidence.streams if stream.opening.status == 200 and not stream.opening.error]
    need(good, "no stream was opened")
    return good


def _heard(evidence: Evidence) -> Iterator[tuple[Line, Message]]:
    """The messages of the first stream; the others are compared with it."""
    messages = [(line, one) for stream in _open(evidence)[:1] for line, one in stream.messages if kind_of(one) is not None]
    need(messages, "the stream said nothing that can be read")
    yield from messages


def silent(evidence: Evidence) -> list[Symbol]:
    """The symbols whose session was on, and of which no stream that was opened said anything."""
    streams = [stream for stream in evidence.streams if stream.opening.status == 200 and not stream.opening.error]
    heard = {found.name for stream in streams for _, one in stream.messages if (found := _symbol(evidence, one)) is not None}
    return [symbol for symbol in evidence.symbols if streams and symbol.name not in heard and _is_open(symbol, streams)]


def kind_of(message: Message) -> str | None:
    """What a message is: q, t, d, or the deprecated a and b; None for another one, such as a heartbeat."""
    kind = message.get("f", "t" if "p" in message else None)
    return kind if isinstance(kind, str) and kind in PRICES else None


@rule("streaming.answer", "/streaming is opened with HTTP 200, four times side by side", MANUAL)
def _answer(evidence: Evidence) -> Iterator[Problem]:
    need(evidence.streams, "no symbol is known, or there is no token to ask with")
    yield from answered(stream.opening for stream in evidence.streams)


@rule("streaming.chunked", "it is sent with Transfer-Encoding: chunked", DATA_TESTS + "streamingTransferEncodingHeader")
def _chunked(evidence: Evidence) -> Iterator[Problem]:
    for stream in _open(evidence):
        if "chunked" not in stream.opening.headers.get("transfer-encoding", "").lower():
            yield Problem("Transfer-Encoding: chunked", brief(stream.opening.headers.get("transfer-encoding")), stream.opening.what)


@rule("streaming.permanent", "the server does not close it", DATA_TESTS + "streamingPermanentConnection")
def _permanent(evidence: Evidence) -> Iterator[Problem]:
    for stream in _open(evidence):
        if stream.ending:
            yield Problem("an open stream", f"{stream.ending} after {stream.ended_at - stream.opened_at:.0f} s", stream.opening.what)


@rule("streaming.lines", "each line is one JSON object, and ends with LF alone", MANUAL)
def _lines(evidence: Evidence) -> Iterator[Problem]:
    for stream in _open(evidence):
        for line in stream.lines:
            text = line.data.removesuffix(b"\n")
            if text.endswith(b"\r"):
                yield Problem("a line that ends with LF", "CR LF", stream.opening.what)
            elif text and not isinstance(parse(text), dict):
                yield Problem("one JSON object", _excerpt(text), stream.opening.what)


@rule("streaming.fields", "messages have f, id, t and the prices and sizes of their kind, as numbers", DATA_TESTS + "streamingFieldsFormat")
def _fields(evidence: Evidence) -> Iterator[Problem]:
    for _, one in _heard(evidence):
        kind = kind_of(one) or "t"
        if not isinstance(one.get("id"), str) or not one["id"]:
            yield Problem("an id that is a text", brief(one.get("id")), brief(one))
        for name in ("t", *PRICES[kind], *SIZES[kind], *(("s",) if "s" in one else ())):
            if not is_number(one.get(name)):
                yield Problem(f"{name} as a number", brief(one.get(name)), brief(one))


@rule("streaming.known-symbols", "each id is a symbol or a ticker of /symbol_info", DATA_TESTS + "streamingSymbolsCheck")
def _known(evidence: Evidence) -> Iterator[Problem]:
    unknown = Counter(one["id"] for _, one in _heard(evidence) if isinstance(one.get("id"), str) and one["id"] not in evidence.by_name)
    for name, count in unknown.items():
        yield Problem("a symbol or ticker of /symbol_info", f"{brief(name)}, in {count} messages", "/streaming")


@rule("streaming.all-symbols", "every symbol whose session is on is heard of", DATA_TESTS + "streamingSymbolsCheck")
def _all_symbols(evidence: Evidence) -> Iterator[Problem]:
    streams = _open(evidence)
    opened, seconds = min(stream.opened_at for stream in streams), min(stream.ended_at - stream.opened_at for stream in streams)
    quiet = silent(evidence)
    has_traded = {
        symbol.name: any(time + 60 > opened for time in bars.t)
        for symbol in quiet
        if symbol.name in evidence.streamed and (bars := evidence.streamed[symbol.name].bars) is not None
    }
    is_quiet_time = bool(has_traded) and not any(has_traded.values())  # of those that were not asked about no more is known
    for symbol in quiet:
        is_excused = not has_traded[symbol.name] if symbol.name in has_traded else is_quiet_time
        found = f"nothing in {seconds:.0f} s" + (", and no bar in /history either: it may trade rarely" if is_excused else "")
        yield Problem("a quote or a trade", found, symbol.name, is_warning=is_excused)


@rule(
    "streaming.kinds",
    "there are quotes with both sides, and trades, if need be artificial ones",
    DATA_TESTS + "streamingAskBidQuoteTradeExistence",
)
def _kinds(evidence: Evidence) -> Iterator[Problem]:
    kinds = {kind_of(one) for _, one in _heard(evidence)}
    if "q" not in kinds:
        single = " but the deprecated a and b" if kinds & {"a", "b"} else ""
        yield Problem("messages with f=q", f"none{single}", "/streaming")
    if "t" not in kinds:
        yield Problem("messages with f=t", "none", "/streaming")


@rule("streaming.quotes", "the best bid is not above the best ask", MANUAL)
def _quotes(evidence: Evidence) -> Iterator[Problem]:
    for _, one in _heard(evidence):
        if one.get("f") == "q" and is_number(one.get("bp")) and is_number(one.get("ap")) and one["bp"] > one["ap"]:
            yield Problem("bp <= ap", f"bp={one['bp']}, ap={one['ap']}", brief(one))


@rule("streaming.sizes", "a trade has a size above 0, but for artificial ones of Forex and for corrections", MANUAL)
def _sizes(evidence: Evidence) -> Iterator[Problem]:
    sizes: dict[str, list[float | None]] = defaultdict(list)
    for _, one in _heard(evidence):
        symbol = _symbol(evidence, one)
        size: Any = one.get("s")
        if kind_of(one) != "t":
            continue
        if is_number(size) and size < 0:
            yield Problem("a size of 0 or more", f"{size}", brief(one))
        if symbol is not None and symbol.kind != "forex":
            sizes[symbol.name].append(size if is_number(size) else None)
    for name, found in sizes.items():
        stated = [size for size in found if size is not None]
        if not any(size > 0 for size in stated):
            what = f"{brief(max(stated))} at most" if stated else "none"  # the specification lets it be left out
            yield Problem("sizes above 0", f"{what} in each of {len(found)} trades", name, is_warning=not stated)


@rule("streaming.time-grows", "times of one symbol and kind do not go back", DATA_TESTS + "streamingTimeGrow")
def _grows(evidence: Evidence) -> Iterator[Problem]:
    latest: dict[tuple[str, str | None], float] = {}
    for _, one in _heard(evidence):
        key, time = (str(one.get("id")), kind_of(one)), one.get("t")
        if not is_number(time) or not isinstance(time, (int, float)):
            continue
        if time < latest.get(key, time):
            yield Problem("a time that is not earlier", f"{time} after {latest[key]}", brief(one))
        latest[key] = max(time, latest.get(key, time))


@rule("streaming.delay", f"a message is not older than {LATEST:.0f} seconds, nor of the future", DATA_TESTS + "streamingNoDelays")
def _delay(evidence: Evidence) -> Iterator[Problem]:
    for line, one in _heard(evidence):
        time = one.get("t")
        if kind_of(one) == "d" or not isinstance(time, (int, float)):
            continue
        delay = line.at - time
        if delay > LATEST + (1 if is_integer(time) else 0) or delay < -LATEST:  # a whole second may have been rounded down
            yield Problem(f"at most {LATEST:.0f} s", f"{delay:.1f} s", brief(one))


@rule("streaming.same", "all connections get the same data", MANUAL)
def _same(evidence: Evidence) -> Iterator[Problem]:
    streams = _open(evidence)
    need(len(streams) > 1, "fewer than two streams were opened")
    first, last = max(stream.opened_at for stream in streams) + EDGE, min(stream.ended_at for stream in streams) - EDGE
    said = [Counter(_canonical(one) for line, one in stream.messages if first <= line.at <= last and kind_of(one)) for stream in streams]
    # At the edges a message may be on this side for one and on that side for another: what counts is whether it came at all.
    ever = [{_canonical(one) for _, one in stream.messages} for stream in streams]
    for other in range(1, len(streams)):
        for one, two in ((0, other), (other, 0)):
            missing = [text for text in said[one] if text not in ever[two]]
            if len(missing) > DIFFERENT * len(said[one]):
                found = f"{len(missing)} of {len(said[one])} messages did not come"
                yield Problem(f"what came by {streams[one].opening.what}", found, streams[two].opening.what)


@rule("streaming.once", "a message comes once", MANUAL)
def _once(evidence: Evidence) -> Iterator[Problem]:
    quotes = Counter(_canonical(one) for _, one in _heard(evidence) if kind_of(one) in ("q", "t"))
    again = sum(count - 1 for count in quotes.values())
    if again > DIFFERENT * quotes.total():
        yield Problem("different messages", f"{again} of {quotes.total()} came before", "/streaming", is_warning=True)


@rule("streaming.daily", "symbols with daily bars have daily updates", DATA_TESTS + "streamingDailyBarsUpdate")
def _daily(evidence: Evidence) -> Iterator[Problem]:
    streams = _open(evidence)
    wanted = {symbol.name for symbol in evidence.symbols if symbol.has_daily and _is_open(symbol, streams)}
    need(wanted, "no symbol whose session is on has daily bars")
    heard = {found.name for _, one in _heard(evidence) if kind_of(one) == "d" and (found := _symbol(evidence, one)) is not None}
    for name in sorted(wanted - heard):
        yield Problem("a message with f=d", "none; they may be rare", name, is_warning=True)


@rule("streaming.history", "trades lie within the bars that /history has of the same minutes", DATA_TESTS + "streamingHistoryEquality")
def _history(evidence: Evidence) -> Iterator[Problem]:
    compared: dict[str, list[bool]] = defaultdict(list)
    trades: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, one in _heard(evidence):
        symbol = _symbol(evidence, one)
        time, price = one.get("t"), one.get("p")
        if kind_of(one) == "t" and symbol is not None and isinstance(time, (int, float)) and isinstance(price, (int, float)):
            asked = evidence.streamed.get(symbol.name)
            if asked is not None and time <= asked.exchange.sent_at - LATEST:  # a younger one need not be in the history yet
                trades[symbol.name, int(time) // 60 * 60].append(price)
    for (name, minute), prices in trades.items():
        asked = evidence.streamed[name]
        bar = asked.bars.by_time.get(minute) if asked.bars is not None else None
        if asked.bars is None or (bar is None and minute + 60 + LATEST > asked.exchange.sent_at):
            continue  # some servers have a bar once it is closed
        compared[name].append(bar is not None and bar[2] <= min(prices) <= max(prices) <= bar[1])
    need(compared, "no trade could be compared")
    for name, results in compared.items():
        if results.count(False) > DIFFERENT * len(results):
            yield Problem("l <= p <= h", f"not so in {results.count(False)} of {len(results)} minutes", name)


def _is_open(symbol: Symbol, streams: list[Stream]) -> bool:
    """Whether its session was on when the streams were opened, as far as that is known."""
    return symbol.hours is not None and all(symbol.hours.is_open(stream.opened_at) for stream in streams)


def _symbol(evidence: Evidence, message: Message) -> Symbol | None:
    name = message.get("id")
    return evidence.by_name.get(name) if isinstance(name, str) else None


def _canonical(message: Message) -> str:
    return json.dumps(message, sort_keys=True)


def _excerpt(data: bytes) -> str:
    return brief(data[:60].decode(errors="replace"))
