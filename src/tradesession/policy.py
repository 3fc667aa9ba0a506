"""Every default number, each with its reason. Nothing else in the library invents one.

Pure. Seconds and bytes unless a name says otherwise. All of them can be changed by the configuration of a platform.
"""

from __future__ import annotations

from typing import Final

# --- connecting -------------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT: Final = 10.0
"""Name lookup, TCP and TLS (or the WebSocket opening) together: three round trips across the world fit ten times over."""

STEP_TIMEOUT: Final = 10.0
"""One step of a handshake: application and account authentication were seen at 55 to 130 ms."""

CLOSE_TIMEOUT: Final = 2.0
"""An orderly goodbye; after it the socket is cut. A bot that is told to stop must stop."""

REQUEST_TIMEOUT: Final = 10.0
"""A request without a deadline of its own: 40 to 60 ms is usual, a cold history request takes seconds."""

# --- frames -----------------------------------------------------------------------------------------------------------------

MAX_FRAME: Final = 15_000_000
"""Largest accepted frame: the cap of cTrader's own SDK. Bounds the memory that a broken or hostile peer can take."""

WRITE_HIGH_WATER: Final = 1 << 20
"""Bytes that may wait in the send buffer before a request waits too: thousands of requests, yet little enough to notice a deaf peer."""

# --- keeping a link alive (cTrader fact sheet, section 3) ---------------------------------------------------------------------

HEARTBEAT_INTERVAL: Final = 10.0
"""The documents ask for one at least every 10 s; the server closes after about 30 s."""

LIVENESS_TIMEOUT: Final = 45.0
"""Silence after which a peer counts as dead: the server speaks at least every 25 to 30 s, so this is one and a half of its beats."""

# --- quotas (cTrader fact sheet, section 4) -----------------------------------------------------------------------------------

REQUESTS_PER_SECOND: Final = 45.0
"""Of the 50 that a connection may send; the rest is for clocks that disagree about when a second ends."""

REQUEST_BURST: Final = 5
"""Requests that may leave at once after a pause. With the rate above, no second, however it is cut, sees more than 50."""

HISTORICAL_REQUESTS_PER_SECOND: Final = 4.0
"""Of the 5 that a connection may send."""

# --- streams ----------------------------------------------------------------------------------------------------------------

EVENT_QUEUE: Final = 10_000
"""Events a stream holds for a slow reader before its overflow rule acts: a busy minute of a hundred symbols."""

# --- consent ----------------------------------------------------------------------------------------------------------------

CONSENT_TIMEOUT: Final = 300.0
"""How long a person may take in the browser: login, second factor, choosing accounts."""

# --- tokens (see tokens/keeper.py) ----------------------------------------------------------------------------------------------

TOKEN_REQUEST_TIMEOUT: Final = 30.0
"""One call of a token endpoint, from connect to the last byte. Generous: giving up on an exchange that left is the dangerous case."""

TOKEN_REPLY_LIMIT: Final = 1 << 20
"""Bytes of a token endpoint's answer that are read; real ones have under 10 kB."""

RETRY_AFTER_LIMIT: Final = 3600.0
"""Longest wait that a token endpoint's Retry-After is granted: a maintenance fits, and a wrong date does not park a bot for a year."""
