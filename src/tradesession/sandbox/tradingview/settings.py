"""What the sandboxed broker can do in more than one way, all of them allowed: a client has to live with each.

Pure. Seconds unless a name says otherwise. The fact sheet's section stands beside each group. Settings may be changed while the sandbox
runs and hold from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, Switchboard, choice, switch


@dataclass(slots=True)
class Settings(Switchboard):
    """Each default is what a careful broker would choose."""

    # --- tokens (sections A1 and A2) ---
    reply_style: Literal["enveloped", "flat", "both"] = switch(
        "enveloped", "what /authorize answers: the envelope, OAuth's fields, or both", choice("enveloped", "flat", "both")
    )
    access_lifetime: int = switch(1200, "life of an access token", NUMBER)
    refresh_lifetime: int = switch(2400, "life of a refresh token", NUMBER)
    rotation: Literal["on", "off", "revoke"] = switch(
        "on",
        "a refresh token works once (on), again and again (off), or its second use ends the whole family (revoke)",
        choice("on", "off", "revoke"),
    )
    overlap: float = switch(-1.0, "how long the old access token lives on after a refresh; negative: to its own end", SECONDS)
    x5t: Literal["any", "strict", "hex"] = switch(
        "any", "which spellings of a thumbprint are taken: all four, the RFC's, or hexadecimal", choice("any", "strict", "hex")
    )
    longest_assertion: float = switch(300.0, "how far in the future an assertion may expire", SECONDS)
    token_errors: Literal["oauth", "envelope"] = switch(
        "oauth", "how the token endpoint refuses: HTTP 400 and 401, or 200 and an envelope", choice("oauth", "envelope")
    )

    # --- data (section A3) ---
    groups: bool = switch(True, "whether symbols are in groups; without, the group parameter is ignored and /groups does not exist", FLAG)
    scalars: bool = switch(False, "columns that are the same for all symbols travel as one value and not as an array", FLAG)
    countback: bool = switch(True, "whether /history knows countback, which is deprecated", FLAG)
    daily: bool = switch(True, "whether there are daily bars, in history and in the stream", FLAG)

    # --- streaming (sections A2.5 and A3) ---
    stream_id: Literal["symbol", "ticker"] = switch("symbol", "what the stream calls an instrument by", choice("symbol", "ticker"))
    stream_keepalive: Literal["none", "blank", "heartbeat"] = switch(
        "none",
        "what the stream says every 5 seconds: nothing, a blank line, or a heartbeat message as later versions of the API have",
        choice("none", "blank", "heartbeat"),
    )
    stream_ends_with_token: bool = switch(False, "a stream is closed when the token that opened it expires", FLAG)
    gzip: bool = switch(False, "the stream is compressed, for clients that accept it", FLAG)
