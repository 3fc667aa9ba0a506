"""The faults of the sandboxed CPlugin as switches. Every name also works on the command line.

Pure. A switch acts on every connection, also on those that are open when it is set. Most were seen with real servers, proxies in front of
them, or clients that went wrong about them; the others are ways in which bytes and connections fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from tradesession.sandbox.authority import Flaw
from tradesession.sandbox.signalr.switches import HubSwitches
from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, choice, switch, text

ExpiresIn = Literal["", "missing", "zero", "negative", "text"]

_FLAW: Final = choice(*get_args(Flaw))
_EXPIRES_IN: Final = choice(*filter(None, get_args(ExpiresIn)))
_URL: Final = text("a URL")
_ERROR: Final = text("a text")


@dataclass(slots=True)
class Switches(HubSwitches):
    """The switches, with those of every hub. Set one, take it back by its default, or `clear()` all."""

    # --- connecting ---
    refuse_connections: bool = switch(False, "nobody listens: connections are refused", FLAG)
    tls_hang: bool = switch(False, "connections are accepted and TLS never answers", FLAG)
    accept_and_close: bool = switch(False, "connections are accepted, TLS included, and closed at once", FLAG)
    wrong_certificate: Flaw | Literal[""] = switch("", "a certificate to refuse: of another host or authority, or expired", _FLAW)

    # --- bytes ---
    slice_output: int = switch(0, "output leaves in pieces of that many bytes", NUMBER)
    cut_output_after: int | None = switch(None, "the connection is cut after the server has sent that many bytes", NUMBER)
    cut_input_after: int | None = switch(None, "the connection is cut after the client has sent that many bytes", NUMBER)
    half_open: bool = switch(False, "the server hears nothing, says nothing and closes nothing", FLAG)
    stop_reading: bool = switch(False, "the server reads no more: the client's send buffer fills", FLAG)

    # --- the authority ---
    token_life: float = switch(3600.0, "tokens issued from now on live that many seconds", SECONDS)
    refuse_tokens: int = switch(0, "the next so many token requests are refused with invalid_client", NUMBER)
    token_error: str = switch("", "token requests are refused with that error code", _ERROR)
    token_status: int = switch(0, "the token endpoint answers with that HTTP status, and no JSON", NUMBER)
    token_delay: float = switch(0.0, "the token endpoint does its work and answers that many seconds later", SECONDS)
    token_reply_lost: bool = switch(False, "the token endpoint does its work and hangs up without an answer", FLAG)
    token_redirect: str = switch("", "the token endpoint redirects to that URL (307)", _URL)
    expires_in: ExpiresIn = switch("", "the answer's expires_in: missing, zero, negative or text", _EXPIRES_IN)
    discovery_status: int = switch(0, "the discovery document answers with that HTTP status", NUMBER)
    discovery_endpoint: str = switch("", "the discovery document names that token endpoint", _URL)
    discovery_garbage: bool = switch(False, "the discovery document is no JSON", FLAG)

    # --- the bearer ---
    refuse_bearer: int = switch(0, "the next so many bearers are refused (401), good or not", NUMBER)
    refuse_every_bearer: bool = switch(False, "every bearer is refused (401)", FLAG)
    forbid: bool = switch(False, "every bearer lacks rights (403)", FLAG)

    # --- negotiation and upgrade ---
    negotiate_status: int = switch(0, "negotiation answers with that HTTP status", NUMBER)
    negotiate_error: str = switch("", "negotiation answers 200 with that error", _ERROR)
    negotiate_version: int | None = switch(None, "negotiation answers in that version, whatever was asked for", NUMBER)
    negotiate_redirects: int = switch(0, "negotiation leads on so many times, with a token, before it answers", NUMBER)
    redirect_without_token: bool = switch(False, "a negotiation that leads on gives no token", FLAG)
    negotiate_redirect_to: str = switch("", "negotiation leads on to that URL", _URL)
    no_websockets: bool = switch(False, "negotiation offers no WebSockets", FLAG)
    upgrade_status: int = switch(0, "the upgrade answers with that HTTP status", NUMBER)
    upgrade_redirect: str = switch("", "the upgrade is redirected to that URL (302)", _URL)
    refuse_platform: bool = switch(False, "every trade platform is unknown: Close with an error behind the handshake", FLAG)
    stateful_reconnect: bool = switch(False, "stateful reconnect is offered", FLAG)

    # --- REST ---
    rest_status: int = switch(0, "REST answers with that HTTP status and a page of a proxy", NUMBER)
    rest_error: str = switch("", "v2 calls fail with that error code, e.g. NoConnect, Busy, OutcomeUnknown", _ERROR)
    rest_delay: float = switch(0.0, "REST does its work and answers that many seconds later", SECONDS)


def known_faults() -> dict[str, str]:
    """Every name of a fault with a line on what it does."""
    return Switches.known()
