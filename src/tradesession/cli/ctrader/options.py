"""The options of the cTrader commands: one table, in the words of `tradesession.ctrader.Config`, whose fields they fill."""

from __future__ import annotations

from typing import Final

from tradesession.cli.options import STORE, Option, Options
from tradesession.ctrader.config import PREFIX
from tradesession.options import integers, titles

_APPLICATION: Final = "Application"
_TOKENS: Final = "Tokens"
_SERVER: Final = "Server"
_ACCOUNTS: Final = "Accounts"
_TIMES: Final = "Time limits, in seconds"

OPTIONS: Final = Options(
    PREFIX,
    {
        "client_id": Option(_APPLICATION, "The application's id, from the Open API portal.", metavar="ID"),
        "client_secret": Option(
            _APPLICATION, "The application's secret. Better by its variable: other users see command lines.", metavar="SECRET"
        ),
        "subject": Option(
            _TOKENS, "Whose consent it is: a name of your own that tells several grants apart. Default: default.", metavar="NAME"
        ),
        "store": STORE,
        "access_token": Option(
            _TOKENS, "Use this access token as it is; no store is touched then, and nothing is renewed.", metavar="TOKEN"
        ),
        "refresh_token": Option(_TOKENS, "The refresh token that belongs to it; never exchanged here.", metavar="TOKEN"),
        "token_url": Option(_TOKENS, "The token endpoint. Default: cTrader's.", metavar="URL"),
        "token_method": Option(_TOKENS, "How it is asked. Default: GET, as documented.", metavar="GET|POST"),
        "auth_url": Option(_TOKENS, "The consent page. Default: cTrader's.", metavar="URL"),
        "redirect_uri": Option(
            _TOKENS,
            "Where the consent page sends the browser, as registered: http://127.0.0.1:PORT/PATH.",
            metavar="URL",
        ),
        "scope": Option(_TOKENS, "trading (may trade) or accounts (may only look). Default: trading.", metavar="trading|accounts"),
        "environment": Option(
            _SERVER, "Whose accounts are authorised, and which endpoint --host and --port replace. Default: demo.", metavar="demo|live|both"
        ),
        "host": Option(_SERVER, "Another server than the public one of the environment.", metavar="NAME"),
        "port": Option(_SERVER, "Its port. Default: 5035.", int, metavar="NUMBER"),
        "transport": Option(_SERVER, "How to reach it. Default: tcp.", metavar="tcp|websocket"),
        "websocket_url": Option(_SERVER, "Its WebSocket address, with --transport websocket. Default: by host and port.", metavar="URL"),
        "ca_file": Option(_SERVER, "Certificate authorities to trust (PEM) instead of the system's.", metavar="PATH"),
        "plaintext": Option(_SERVER, "Without TLS: to this machine only.", bool),
        "accounts": Option(
            _ACCOUNTS,
            "A ctidTraderAccountId; may be repeated. Default: all.",
            flag="--account",
            metavar="ID",
            read=integers,
        ),
        "logins": Option(
            _ACCOUNTS, "An account by the number that the terminal shows; may be repeated.", flag="--login", read=integers, metavar="LOGIN"
        ),
        "brokers": Option(
            _ACCOUNTS, "All accounts of a broker, by its short title; may be repeated.", flag="--broker", read=titles, metavar="TITLE"
        ),
        "connect_timeout": Option(_TIMES, "For the connection to stand.", float, metavar="SECONDS"),
        "step_timeout": Option(_TIMES, "For each step of the handshake.", float, metavar="SECONDS"),
        "close_timeout": Option(_TIMES, "For an orderly goodbye.", float, metavar="SECONDS"),
    },
)

SLOT: Final = ("client_id", "subject", "store")
"""What names a grant in the store."""

GRANT: Final = ("client_id", "client_secret", "subject", "store", "token_url", "token_method", "ca_file")
"""What it takes to renew one."""

CONSENT: Final = (*GRANT, "auth_url", "redirect_uri", "scope")
"""What it takes to get one."""

SESSION: Final = (
    *("client_id", "client_secret", "access_token", "refresh_token", "subject", "store", "token_url", "token_method"),
    *("environment", "host", "port", "transport", "websocket_url", "ca_file", "plaintext"),
    *("accounts", "logins", "brokers", "connect_timeout", "step_timeout", "close_timeout"),
)  # fmt: skip
"""What it takes to open a session."""
