"""What the sandboxed broker does wrong on purpose: mistakes that brokers make, and ways in which servers and networks fail.

Pure. A fault holds until it is taken back, also for streams that are open. Section A5 of the fact sheet lists most of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, Kind, Switchboard, choice, switch, text

History = Literal[
    "", "unsorted", "ragged", "exclusive", "future", "left-ok", "gap-no-data", "unstable", "truncated", "high", "strings",
    "misaligned", "outside", "daily-open", "from-ignored",
]  # fmt: skip
Quotes = Literal["", "one-sided", "crossed", "none"]
Trades = Literal["", "none", "size-zero", "off-history"]

_JSON: Final[Kind] = (json.loads, "a JSON value")


@dataclass(slots=True)
class Faults(Switchboard):
    """Nothing is wrong by default."""

    # --- tokens ---
    expiration: Literal["", "float", "string", "past", "missing"] = switch(
        "", "the expiration of a token is of a wrong type, past, or missing", choice("float", "string", "past", "missing")
    )
    duplicate_token: bool = switch(False, "every login gets the same token", FLAG)
    single_session: bool = switch(False, "a new token ends those that the same credential had before, and their streams", FLAG)
    any_password: bool = switch(False, "every password is right", FLAG)
    wrong_password_status: int = switch(0, "HTTP status for a wrong password, in place of an envelope with 200", NUMBER)
    bad_token: Literal["", "accepted", "envelope"] = switch(
        "", "a bad token is taken, or refused by an envelope with HTTP 200", choice("accepted", "envelope")
    )
    immortal_tokens: bool = switch(False, "expired tokens are still taken", FLAG)
    replay_accepted: bool = switch(False, "an assertion may be used again", FLAG)
    audience: str = switch("", "the server believes that its token endpoint is at this address", text("an address"))
    clock_offset: float = switch(0.0, "seconds by which the server's clock is ahead", SECONDS)
    token_reply_lost: bool = switch(False, "the token endpoint does its work and hangs up without an answer", FLAG)
    token_delay: float = switch(0.0, "the token endpoint does its work and answers that many seconds later", SECONDS)
    token_status: int = switch(0, "the token endpoint answers with that HTTP status and does nothing", NUMBER)

    # --- all data endpoints ---
    status: int = switch(0, "data endpoints answer with that HTTP status and an HTML page", NUMBER)
    retry_after: int = switch(0, "seconds of Retry-After on answers with a status of a fault", NUMBER)
    html: bool = switch(False, "data endpoints answer with HTTP 200 and an HTML page", FLAG)
    text_type: bool = switch(False, "data endpoints call their JSON text/plain", FLAG)
    huge: bool = switch(False, "data endpoints answer with more than a mebibyte", FLAG)
    garbage: bool = switch(False, "data endpoints answer with bytes that are no JSON", FLAG)
    hang: bool = switch(False, "data endpoints never answer", FLAG)
    redirect: str = switch("", "data endpoints and token endpoints redirect to this origin", text("an address"))

    # --- groups and symbols ---
    group_ids: Any = switch(None, "the ids of the groups, as a JSON array, in place of the right ones", _JSON)
    symbol_in_two_groups: bool = switch(False, "a symbol is in two groups", FLAG)
    symbol_fields: Any = switch(None, "columns of /symbol_info that have other values, as a JSON object; null leaves one out", _JSON)

    # --- history ---
    history: History = switch("", "what is wrong with the bars", choice(*filter(None, get_args(History))))

    # --- streaming ---
    stream_not_chunked: bool = switch(False, "the stream is not sent in chunks", FLAG)
    stream_closes_after: float = switch(0.0, "the stream is closed after so many seconds", SECONDS)
    stream_cut: bool = switch(False, "the stream is cut in the middle of a line, after 11 seconds", FLAG)
    stream_crlf: bool = switch(False, "lines of the stream end with CR LF", FLAG)
    stream_glued: bool = switch(False, "two messages of the stream share a line", FLAG)
    stream_garbage: bool = switch(False, "every tenth line of the stream is no JSON", FLAG)
    stream_silent: bool = switch(False, "the stream says nothing", FLAG)
    stream_late: int = switch(0, "the stream is that many seconds late", NUMBER)
    stream_back_in_time: bool = switch(False, "times in the stream go back now and then", FLAG)
    stream_split: bool = switch(False, "each message goes to one of the open streams only", FLAG)
    stream_repeats: bool = switch(False, "each message of the stream comes twice", FLAG)
    stream_unknown_symbol: bool = switch(False, "the stream names a symbol that /symbol_info does not have", FLAG)
    stream_missing_symbol: bool = switch(False, "the stream never names one of the symbols", FLAG)
    stream_numbers_as_text: bool = switch(False, "prices in the stream are texts", FLAG)
    stream_refused: int = switch(0, "one connection more than so many is refused with 429", NUMBER)
    stream_quotes: Quotes = switch(
        "", "quotes have one side only, have the bid above the ask, or are missing", choice(*filter(None, get_args(Quotes)))
    )
    stream_trades: Trades = switch(
        "", "trades are missing, have no size, or prices that history does not have", choice(*filter(None, get_args(Trades)))
    )
