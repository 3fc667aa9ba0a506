"""What the sandboxed B2Core and B2Trader can do in more than one way, and what they do wrong on purpose. Facts: B1, B2, B4, B5.

Pure. A switch holds until it is taken back; each has a name on the command line too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, Switchboard, choice, switch, text

TwoFactor = Literal["", "google", "sms", "email", "both"]
ErrorShape = Literal["envelope", "laravel"]
MomentForm = Literal["iso", "naive", "unix", "milliseconds"]
Ttl = Literal["text", "number", "0", "abc", "missing", "milliseconds"]


@dataclass(slots=True)
class Settings(Switchboard):
    """Where documents differ, or say nothing, the defaults are their latest examples."""

    two_factor: TwoFactor = switch(
        "", "the sign-in wants a code: of an authenticator, by text message, by mail, or of either of the first two",
        choice("google", "sms", "email", "both"),
    )  # fmt: skip
    wizard_done: bool = switch(
        False, "the wizard says code 202 and done at its very beginning, as an older edition of the documents has it", FLAG
    )
    bearer_life: float = switch(3600.0, "seconds that B2Core's bearer lives", SECONDS)
    bearer_refresh_life: float = switch(86_400.0, "seconds that its refresh token lives", SECONDS)
    moments: MomentForm = switch(
        "iso",
        "how createdAt and expiresAt are written: with a zone, without one, or as a Unix time",
        choice("iso", "naive", "unix", "milliseconds"),
    )
    bearer_refresh_null: bool = switch(False, "a refresh of the bearer brings no new refresh token: the old one stays good", FLAG)
    opaque_bearer: bool = switch(False, "B2Core's bearer is no JWT", FLAG)
    pair_life: float = switch(600.0, "seconds that a platform's pair lives, both of its tokens", SECONDS)
    ttl: Ttl = switch(
        "text", "how ttl is written, or what stands in its place", choice("text", "number", "0", "abc", "missing", "milliseconds")
    )
    jwt_life: float = switch(0.0, "seconds from iat to exp in the pair's tokens, where that is not pair_life", SECONDS)
    identical_pair: bool = switch(False, "token and refreshToken of a pair are the same text, as in the documents' example", FLAG)
    single_use: bool = switch(True, "a platform's refresh token works once; shown again it ends the whole pair", FLAG)
    geo_required: bool = switch(False, "the sign-in to a platform wants the headers about the country", FLAG)
    errors: ErrorShape = switch(
        "envelope", "the shape of an error's body: {error: {message, details}} or {message}", choice("envelope", "laravel")
    )
    tries: int = switch(5, "wrong passwords within a minute that are answered; then the user is locked out", NUMBER)
    lockout: float = switch(600.0, "seconds that a user is locked out", SECONDS)
    hub_follows_token: bool = switch(False, "a hub connection ends with the token that it was opened with", FLAG)


@dataclass(slots=True)
class Faults(Switchboard):
    """Nothing is wrong by default."""

    recaptcha: bool = switch(False, "the sign-in wants a reCAPTCHA", FLAG)
    forced_reset: bool = switch(False, "the user has to set a new password", FLAG)
    wrong_uuid: bool = switch(False, "the wizard hands out a uuid that its next step does not know", FLAG)
    same_uuid: bool = switch(False, "the wizard hands out one uuid for every sign-in, used ones too", FLAG)
    host: str = switch("", "the platform's answers name this address as their host", text("an address"))
    redirect: str = switch("", "every request is redirected to this origin", text("an origin"))
    sign_in_status: int = switch(0, "B2Core's sign-in answers with that HTTP status", NUMBER)
    platform_status: int = switch(0, "the platform's auth and refresh answer with that HTTP status and do nothing", NUMBER)
    trader_status: int = switch(0, "B2Trader's REST interface answers with that HTTP status and an HTML page", NUMBER)
    retry_after: int = switch(0, "seconds that such an answer asks to wait", NUMBER)
    token_reply_lost: bool = switch(False, "whatever gives a token does its work and hangs up without an answer", FLAG)
    token_delay: float = switch(0.0, "whatever gives a token does its work and answers that many seconds later", SECONDS)
    order_reply_lost: bool = switch(False, "an order is taken, and the connection cut without an answer", FLAG)

    # --- the hub ---
    no_pings: bool = switch(False, "the hub sends no pings", FLAG)
    silent_hub: bool = switch(False, "the hub says nothing any more, and hears as before", FLAG)
    late_items: int = switch(0, "so many items still come after a stream was cancelled", NUMBER)
