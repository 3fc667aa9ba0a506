"""What the sandbox can do in more than one way: figures one may want to change, and answers where the real server's is not known.

Pure. Each default is what was observed or documented; the fact sheet's section stands beside it. Settings may be changed while the
sandbox runs and hold from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HISTORICAL = frozenset({2133, 2137, 2145})
"""The requests that documents count as historical: deals, trendbars, ticks (section 4)."""


@dataclass(slots=True)
class Settings:
    """Seconds and bytes unless a name says otherwise."""

    # --- times of a connection (sections 1.4 and 3) ---
    heartbeat_after: float = 25.0
    """Silence of the server after which it sends a heartbeat of its own."""
    idle_timeout: float = 30.0
    """Silence of the client after which the connection is closed."""
    authentication_timeout: float = 30.0
    """Age at which a connection without application authentication is closed, whatever it has sent."""
    latency: float = 0.0
    """Delay of everything the server sends, on the sandbox's clock. The real one was seen at 0.04 to 0.13."""

    # --- sizes (section 1.3; the server's own cap is not known) ---
    max_frame: int = 15_000_000

    # --- rate limits (section 4) ---
    requests_per_second: int = 50
    historical_per_second: int = 5
    historical: frozenset[int] = HISTORICAL
    """Payload types that count against `historical_per_second`."""
    retry_after: int = 1
    """How long a payload type stays blocked, in whole seconds as they travel."""
    rate_limit_code: Literal["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"] = "BLOCKED_PAYLOAD_TYPE"
    """The server of 2024 blocks the payload type and says for how long; that of 2022 refused the one request."""

    # --- answers (sections 2, 5, 6 and 12) ---
    unknown_client_code: str = "CH_CLIENT_AUTH_FAILURE"
    """For a client id nobody registered; CH_OA_CLIENT_NOT_FOUND is the other candidate."""
    expired_code: str = "OA_AUTH_TOKEN_EXPIRED"
    """For an access token past its time; CH_ACCESS_TOKEN_INVALID is the other candidate."""
    unauthorized_account_code: Literal["INVALID_REQUEST", "ACCOUNT_NOT_AUTHORIZED"] = "INVALID_REQUEST"
    """For a request about an account that is not authorised on the connection."""
    view_scope_code: str = "TRADING_NOT_ALLOWED"
    """For an order under a grant that may only look."""
    empty_payload: Literal["empty", "absent"] = "empty"
    """Whether a message without fields travels with a payload of no bytes or without a payload."""
    account_fields: frozenset[str] = frozenset({"isLive", "traderLogin", "brokerTitleShort"})
    """What the account list says about an account beside its id. Servers were seen that leave some of it out."""
    refresh_before_authentication: bool = False
    """Whether a token may be refreshed on a connection without application authentication."""
    refresh_events_first: bool = False
    """Whether 2147 and 2164 go out before the reply to the refresh that causes them, or after it."""
    keep_subscriptions_on_refresh: bool = False
    """Whether an account that is authorised again after a refresh finds its subscriptions as they were."""
    announce_expiry: bool = True
    """Whether a token that runs out is announced by 2147 and 2164 to the connections that use it."""
    partial_subscription: bool = False
    """Whether a list of new and already subscribed symbols is taken for the new ones, or refused as a whole."""
    bars_without_spots_code: Literal["INVALID_REQUEST", "NOT_SUBSCRIBED_TO_SPOTS"] = "INVALID_REQUEST"
    """For live bars of a symbol whose spots are not subscribed: the first was seen, the second is in the enum."""
    depth_needs_spots: bool = False
    """Whether an order book is refused without a subscription to spots."""
    version: str = "sandbox-1"

    common_errors: bool = False
    """Whether errors travel as 50 (the common layer) or as 2142, which is what was seen."""
    max_connections: int | None = None
    """Application-authenticated connections of one application; one more is refused with CONNECTIONS_LIMIT_EXCEEDED."""

    # --- trading (sections 9.2, 9.3, 9.6) ---
    fill_latency: float = 0.01
    """From the acceptance of an order to its fill. The real one was seen at 0.13."""
    protection_latency: float = 0.003
    """From a fill to the protective order."""
    resize_latency: float = 0.01
    """From a partial close to the protective order with the smaller volume."""
    check_money: bool = True
    """Whether an order is refused whose margin exceeds what is free."""
    order_refusals: Literal["as seen", "order error", "error", "execution"] = "as seen"
    """How a refused order request is answered: by 2132, by 2142, or by a 2126 that says ORDER_REJECTED. As seen, INVALID_REQUEST comes in
    2142 and everything else in 2132."""
    execution_ids: Literal["everyone", "origin"] = "everyone"
    """Who sees the clientMsgId of the request behind an execution event: other connections too, or only the one that asked."""
    pending_fill_by_server: bool = True
    """Whether the fill of a pending order is flagged as the server's own doing."""
    announce_protection_cancel: bool = False
    """Whether the end of a position is followed by an event about the end of its protective order."""

    # --- history (sections 8.3 to 8.5) ---
    rows_per_page: int = 500
    """Orders or deals in one answer."""
    bars_per_page: int = 14_000
    ticks_per_page: int = 5_000
    bars_short_of_count: int = 0
    """By how much an answer falls short of the count that was asked for: by none and by one were seen."""
    bar_delay: float = 0.5
    """From the end of a bar to its appearance in history."""
    list_window: float = 604_800.0
    """Widest window of the lists of orders and deals."""

    # --- OAuth over HTTP (section 7) ---
    echo_state: bool = True
    """Whether `state` comes back on the redirect; documents do not mention it."""
    oauth_error_status: int = 200
    """HTTP status of a refused token request: the official clients look into the body, so 200 is what they expect."""
    oauth_error_shape: Literal["ctrader", "rfc6749"] = "ctrader"
    """Either the body of a success with `errorCode` filled in, or `error` and `error_description`."""
    snake_case_copies: bool = False
    """Whether a success also says access_token, refresh_token, expires_in, as the server of 2015 did."""
    consent_ends_refresh_token: bool = False
    """Whether a new consent ends the refresh tokens of earlier ones: documents say yes, observation says no."""
