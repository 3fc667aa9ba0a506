"""The default numbers: of what a configuration can change, and of what several modules share, each with its reason.

Pure. Seconds and bytes unless a name says otherwise. A number that one module alone needs stands there, with its reason as well.
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

AUTHORISATIONS_AT_ONCE: Final = 40
"""Accounts of one connection whose authorisation is under way together: a second's quota, so that nothing is slower for it, and a server
that works through them one by one, at 60 ms each, stays far within the time limit of a step with its hundreds of accounts."""

# --- telling what happens ---------------------------------------------------------------------------------------------------

DROP_WARNING_INTERVAL: Final = 60.0
"""Between two warnings that the same stream drops events: a slow reader drops some with every read."""

# --- frames -----------------------------------------------------------------------------------------------------------------

MAX_FRAME: Final = 15_000_000
"""Largest accepted frame: the cap of cTrader's own SDK. Bounds the memory that a broken or hostile peer can take."""

WRITE_HIGH_WATER: Final = 1 << 20
"""Bytes that may wait in the send buffer before a request waits too: thousands of requests, yet little enough to notice a deaf peer."""

READ_SIZE: Final = 1 << 13
"""Bytes read at once: some three hundred quotes, which still lie in the processor's cache when the readers of the streams get them (larger
reads were measured to cost a tenth more for each quote), and few enough for every stream's queue."""

# --- keeping a link alive (cTrader fact sheet, section 3) ---------------------------------------------------------------------

HEARTBEAT_INTERVAL: Final = 10.0
"""The documents ask for one at least every 10 s; the server closes after about 30 s."""

LIVENESS_TIMEOUT: Final = 45.0
"""Silence after which a peer counts as dead: the server speaks at least every 25 to 30 s, so this is one and a half of its beats."""

# --- coming back ----------------------------------------------------------------------------------------------------------------

BACKOFF_BASE: Final = 1.0
"""The bound of the first wait after a loss; it doubles from attempt to attempt. A short glitch costs under a second."""

BACKOFF_CAP: Final = 60.0
"""The bound never grows above this: after a long outage a thousand clients come back spread over a minute, and none waits longer."""

STEADY_AFTER: Final = 30.0
"""Seconds of READY after which earlier failures are forgotten; less would let a server that accepts and closes be hammered."""

# --- quotas (cTrader fact sheet, section 4) -----------------------------------------------------------------------------------

REQUESTS_PER_SECOND: Final = 40.0
"""Of the 50 that a connection may send; with the burst below, no second sees more than 50, however it is cut."""

REQUEST_BURST: Final = 10
"""Requests that may leave at once after a pause: a handshake with several accounts, a bot's morning."""

HISTORICAL_REQUESTS_PER_SECOND: Final = 4.0
"""Of the 5 that a connection may send."""

HISTORICAL_BURST: Final = 1
"""The rest of the 5."""

# --- streams ----------------------------------------------------------------------------------------------------------------

EVENT_QUEUE: Final = 10_000
"""Events a stream holds for a slow reader before its overflow rule acts: a busy minute of a hundred symbols."""

# --- SignalR hubs ---------------------------------------------------------------------------------------------------------------

HUB_PING_INTERVAL: Final = 15.0
"""Hub pings of ours: ASP.NET Core's own pace. WebSocket pings do not count on either side."""

HUB_SERVER_TIMEOUT: Final = 30.0
"""Silence after which a hub counts as dead: two of its pings."""

HUB_HANDSHAKE_TIMEOUT: Final = 15.0
"""What ASP.NET Core gives a client for its handshake; the server gets as much for its answer."""

HUB_SEND_LIMIT: Final = 32 * 1024
"""Longest record that ASP.NET Core takes by default; at one byte more it closes the connection."""

HUB_REDIRECTS: Final = 5
"""Redirects of one negotiation that are followed: a load balancer makes one."""

HUB_REPLAY_BUFFER: Final = 100_000
"""Unacknowledged bytes at which calls and uploads wait (stateful reconnect): ASP.NET Core's own size."""

HUB_ACK_DELAY: Final = 1.0
"""Between what came and its acknowledgement: ASP.NET Core's own pace …"""

HUB_ACK_BYTES: Final = 32 * 1024
"""… and sooner after so many bytes: a server that keeps 100,000 stops sending when it has no more room."""

HUB_RESUME_TIMEOUT: Final = 15.0
"""How long a broken socket is tried to be replaced: ASP.NET Core was seen to keep a connection for 14 s and not for 16."""

HUB_RESUME_PAUSE: Final = 0.1
"""Bound of the random pause before the second try; it doubles with each one …"""

HUB_RESUME_PAUSE_LIMIT: Final = 2.0
"""… up to this, so that the server is found within the time that it waits."""

HUB_STEADY_AFTER: Final = 5.0
"""How long a replaced socket must live to count as a success: sockets that keep dying are not replaced hundreds of times a second."""

HUB_RENEW_AHEAD_SHARE: Final = 0.15
"""Last part of a bearer's life in which its connection is replaced by one with a newer bearer, which is renewed at 80 % …"""

HUB_RENEW_AHEAD_LIMIT: Final = 120.0
"""… but never sooner than this before its end: time for a dozen tries …"""

HUB_RENEW_AHEAD_LEAST: Final = 2.0
"""… and, unless that is more than half of its life, never later: a server that closes at the end leaves time for both side by side."""

HUB_OVERLAP: Final = 10.0
"""How long an old and a new connection run side by side at most, to find out that both bring the same items …"""

HUB_OVERLAP_LEAST: Final = 1.0
"""… and at least, should the old one's bearer end meanwhile: a stream has begun on the new one after the way to the server and back."""

HUB_LINGER: Final = 0.25
"""How long the old one stays after that, for items that a server sent to the two in different order."""

HUB_EARLY_EVENTS: Final = 256
"""Latest events that nobody has asked for yet; the first stream of their target gets them …"""

HUB_EARLY_SECONDS: Final = 5.0
"""… unless they are older than this: a greeting is not to be missed, and an old price is none."""

HUB_ANSWERS_AT_ONCE: Final = 64
"""Calls of the server that are answered side by side; more than these are refused, as memory has an end."""

# --- one connection in place of another -----------------------------------------------------------------------------------------

HANDOVER_SETTLE: Final = 5.0
"""How long after the old connection has gone the new one may still bring what that had brought; from then on equal events are two."""

# --- CPlugin WebAPI ---------------------------------------------------------------------------------------------------------------

CPLUGIN_REQUEST_TIMEOUT: Final = 90.0
"""A REST call without a deadline of its own: the API gives the slowest kind 60 s, its own link 20 more, and the answer has to travel."""

CPLUGIN_SERVER_TIMEOUT_LEAST: Final = 1.0
"""Seconds; the least that the API takes as X-Request-Timeout."""

CPLUGIN_SERVER_TIMEOUT_MOST: Final = 300.0
"""Seconds; the most that the API takes as X-Request-Timeout."""

CPLUGIN_ATTEMPTS: Final = 3
"""How often a call is sent that may be repeated: as the vendor's own SDK does it."""

CPLUGIN_RETRY_BASE: Final = 0.5
"""Bound of the random pause before the second of them; it doubles …"""

CPLUGIN_RETRY_CAP: Final = 10.0
"""… up to this."""

CPLUGIN_RETRY_AFTER_LIMIT: Final = 60.0
"""Longest wait that the API's Retry-After is granted; a caller's deadline ends it sooner."""

CPLUGIN_REPLY_LIMIT: Final = 64 << 20
"""Bytes of an answer that are read: a year of a busy server's trades fits."""

CPLUGIN_CALL_TIMEOUT: Final = 60.0
"""A hub call, and the opening of a hub: the server cuts off both after 60 s."""

CPLUGIN_DISCOVERY_LIFE: Final = 3600.0
"""How long a token endpoint that was discovered is believed in: the usual life of a token."""

# --- TradingView (facts on the data integration, A1 to A3) ----------------------------------------------------------------------

TRADINGVIEW_ASSERTION_LIFETIME: Final = 60.0
"""Of a signed assertion: time for one slow call of the token endpoint. A new one is made for each call."""

TRADINGVIEW_ASSERTION_SHORTEST: Final = 5.0
"""Below this a clock that is a little wrong, or a slow line, makes every assertion too old."""

TRADINGVIEW_ASSERTION_LONGEST: Final = 300.0
"""Above this servers refuse: "a few minutes" is what RFC 7519 (4.1.4) grants clocks, and a stolen assertion should not last."""

TRADINGVIEW_KEY_BITS: Final = 2048
"""Smallest RSA key that RS256 may be used with (RFC 7518, 3.3)."""

TRADINGVIEW_CERTIFICATE_WARNING: Final = 30 * 86400.0
"""How long before a certificate's end it is warned of: time to have another one registered."""

TRADINGVIEW_LONGEST_TOKEN: Final = 2_147_483.647
"""Longest life of an access token by the documents, which give it in milliseconds; a larger number of "seconds" is meant so as well."""

TRADINGVIEW_STREAMS: Final = 4
"""Connections to /streaming that TradingView itself opens at most, and a broker expects."""

TRADINGVIEW_REQUEST_TIMEOUT: Final = 30.0
"""One read, with its repetitions: a list of ten thousand symbols or a day of minute bars takes seconds on a slow server."""

TRADINGVIEW_REPLY_LIMIT: Final = 64 << 20
"""Bytes of a reply that are read: ten thousand symbols with thirty columns have some ten million."""

TRADINGVIEW_LINE_LIMIT: Final = 1 << 20
"""Bytes of one line of /streaming: a real one has a hundred. Bounds the memory that a server without line ends can take."""

TRADINGVIEW_SILENCE: Final = 60.0
"""Silence of everything that was heard before, in its trading hours, after which a stream counts as dead: it has no heartbeat …"""

TRADINGVIEW_SILENCE_LIMIT: Final = 3600.0
"""… and the patience doubles up to this while reconnecting brings nothing either: a holiday is not met with a reconnect a minute."""

TRADINGVIEW_OVERLAP: Final = 10.0
"""How long an old and a new connection of a stream run side by side at most, to find out that both bring the same."""

TRADINGVIEW_REPLACE_TRIES: Final = 5
"""Tries to replace a stream's connection after a rotation; a server that lets no further one in keeps the old one."""

TRADINGVIEW_QUOTES_PER_SECOND: Final = 2.0
"""/quotes is made to be asked every 500 ms, TradingView's own pace."""

# --- consent ----------------------------------------------------------------------------------------------------------------

CONSENT_TIMEOUT: Final = 300.0
"""How long a person may take in the browser: login, second factor, choosing accounts."""

# --- tokens (see tokens/keeper.py) ----------------------------------------------------------------------------------------------

TOKEN_REQUEST_TIMEOUT: Final = 30.0
"""One call of a token endpoint, from connect to the last byte. Generous: giving up on an exchange that left is the dangerous case."""

TOKEN_REPLY_LIMIT: Final = 1 << 20
"""Bytes of a token endpoint's answer that are read; real ones have under 10 kB."""

HTTP_HEADER_LIMIT: Final = 1 << 16
"""Bytes of one header of an HTTP answer. Policies and cookies of what stands before a server outgrow the usual 8 kB, and an answer that is
not read for that may hold the only good refresh token.
"""

RETRY_AFTER_LIMIT: Final = 3600.0
"""Longest wait that a server is granted, in a maintenance and by a token endpoint's Retry-After: then it is asked again, and a wrong date
does not park a bot for a year."""

TOKEN_RENEW_AT: Final = 0.8
"""Share of its life at which a token is renewed in the background: of 30 days six are left for an endpoint that is down, of 60 s twelve."""

TOKEN_RENEW_JITTER: Final = 0.04
"""Spread of that share to either side, so that many keepers do not call at once; a 60-second token is still renewed every 45 s at most."""

TOKEN_MANDATORY_SHARE: Final = 0.1
"""The last part of a life, in which a caller waits for a renewal instead of getting a token that may end under way …"""

TOKEN_MANDATORY_LIMIT: Final = 60.0
"""… but never more than this: a request with its answer and a clock that is a little wrong fit."""

TOKEN_SPACING: Final = 30.0
"""Least time between two renewals by choice: issuers were seen to serve one token again until half a minute before its end …"""

TOKEN_SPACING_SHARE: Final = 0.25
"""… and for short lives this share of it."""

TOKEN_RETRY_FIRST: Final = 1.0
"""Upper end of the random pause after the first failure of a renewal; it doubles with each one …"""

TOKEN_RETRY_LIMIT: Final = 300.0
"""… up to a twentieth of the token's life, and never more than this."""

TOKEN_REFUSED_PAUSE: Final = 300.0
"""How long a refusal that blames the client or the request is believed before it is checked again: a person has to change something."""

TOKEN_FAILED_TRIES: Final = 3
"""How often an endpoint is asked for a token, at once, that answers with a failure of its own: it may be well again."""

TOKEN_DOUBT_PAUSE: Final = 30.0
"""Pause before a refresh token is shown again after two exchanges without an answer; it doubles with each further one …"""

TOKEN_DOUBT_LIMIT: Final = 900.0
"""… up to this: an endpoint that answers nobody for hours is found again within a quarter of an hour."""

EXCHANGE_LIMIT: Final = 60.0
"""One exchange, over whatever way it goes: twice the time of a token request, as there may be a second way. Then its outcome is unknown."""

LEASE_TTL: Final = 15.0
"""Life of a lease; its holder renews it at a third of that. How long a dead holder on another machine blocks a slot."""

LEASE_WAIT_EXCHANGES: Final = 3
"""How long a keeper waits for somebody else's lease, in exchanges that take their whole time: so only a broken holder is given up on."""

SAVE_RETRY_LIMIT: Final = 5.0
"""Longest pause between two tries to save a rotated token: nothing is more urgent, and a store that is back must not wait."""

SAVE_GRACE: Final = 15.0
"""How long an exchange that somebody else left open is watched before it is taken up: three of the pauses in which he may still save."""

SAVE_ON_CLOSE_LIMIT: Final = 30.0
"""How long closing goes on trying to save a rotated token before it gives up with an error."""

CLOCK_CHECK: Final = 300.0
"""Longest sleep between two looks at both clocks, to notice a machine that was suspended."""

CLOCK_JUMP: Final = 2.0
"""Difference between the wall clock's and the monotonic clock's way that counts as a jump: slewing moves both alike."""

# --- token stores -------------------------------------------------------------------------------------------------------------------

STORE_TIMEOUT: Final = 5.0
"""One call of a store: a hundred times what a slow one takes. Then it counts as unreachable."""

STORE_POLL: Final = 1.0
"""Between two looks for changes where a store cannot announce them (SQLite, for other processes): a look costs a tenth of a millisecond."""

STORE_POLL_ANNOUNCED: Final = 30.0
"""The same where it can (PostgreSQL, Redis): for announcements that were lost with a connection."""

STORE_POLL_URGENT: Final = 0.05
"""The same while callers wait for an exchange that another process makes."""

LINEAGE: Final = 64
"""Fingerprints of earlier tokens that a store remembers of a slot, to know an old one when it is imported again: so many of those that
came from outside, and as many of those that were exchanged."""
