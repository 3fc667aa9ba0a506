"""The options of the B2Core commands: one table, in the words of `tradesession.b2core.Config`, whose fields they fill."""

from __future__ import annotations

from typing import Final

from tradesession.b2core.config import PREFIX
from tradesession.cli.options import STORE, Option, Options
from tradesession.options import titles

_USER: Final = "User"
_TOKENS: Final = "Tokens"
_SERVER: Final = "Server"
_TIMES: Final = "Time limits, in seconds"

_TABLE: Final = {
    "email": Option(_USER, "Who signs in at B2Core.", metavar="EMAIL"),
    "password": Option(_USER, "The password. Better by its variable: other users see command lines.", metavar="PASSWORD"),
    "code_method": Option(_USER, "Which two-factor code, where the user has several. Default: google.", metavar="google|sms|email"),
    "country_code": Option(_USER, "The Geo-Country-Code that the broker wants at the sign-in to the platform.", metavar="CODE"),
    "country_name": Option(_USER, "The Geo-Country-Name likewise.", metavar="NAME"),
    "access_token": Option(_TOKENS, "Use this bearer of B2Core as it is; no store is touched then.", metavar="TOKEN"),
    "refresh_token": Option(_TOKENS, "The refresh token that belongs to it; never exchanged here.", metavar="TOKEN"),
    "subject": Option(_TOKENS, "A name of your own that tells several tokens of a user apart. Default: default.", metavar="NAME"),
    "store": STORE,
    "base_url": Option(_SERVER, "The address of the broker's B2Core.", metavar="URL"),
    "platform_id": Option(_SERVER, "The number of the B2Trader platform there.", metavar="NUMBER"),
    "trader_urls": Option(
        _SERVER, "An address of B2Trader; may be repeated. Default: that of B2Core.", flag="--trader-url", metavar="URL", read=titles
    ),
    "hub_path": Option(_SERVER, "The path of B2Trader's hub. Default: /frontoffice/ws/v4/account.", metavar="PATH"),
    "negotiate": Option(_SERVER, "Negotiate before the hub's socket is opened.", bool),
    "ca_file": Option(_SERVER, "Certificate authorities to trust (PEM) instead of the system's.", metavar="PATH"),
    "connect_timeout": Option(_TIMES, "For the connection to stand.", float, metavar="SECONDS"),
    "request_timeout": Option(_TIMES, "For a request.", float, metavar="SECONDS"),
    "close_timeout": Option(_TIMES, "For an orderly goodbye.", float, metavar="SECONDS"),
    "code_timeout": Option(_TIMES, "For a person to give a two-factor code.", float, metavar="SECONDS"),
}

OPTIONS: Final = Options(PREFIX, _TABLE)
ALL: Final = tuple(_TABLE)
