"""The options of the CPlugin commands: one table, in the words of `tradesession.cplugin.Config`, whose fields they fill."""

from __future__ import annotations

from typing import Final

from tradesession.cli.options import Option, Options
from tradesession.cplugin.config import PREFIX

_CLIENT: Final = "Client"
_SERVER: Final = "Server"
_HUB: Final = "Hub"
_TIMES: Final = "Time limits, in seconds"

_TABLE: Final = {
    "client_id": Option(_CLIENT, "The API client's id, from the management toolbox.", metavar="ID"),
    "client_secret": Option(_CLIENT, "Its secret. Better by its variable: other users see command lines.", metavar="SECRET"),
    "access_token": Option(_CLIENT, "Use this access token as it is, and renew nothing.", metavar="TOKEN"),
    "scope": Option(_CLIENT, "What the token is asked for. Default: webapi.", metavar="SCOPE"),
    "environment": Option(_SERVER, "Default: prod; custom with --base-url and --authority.", metavar="prod|staging|custom"),
    "base_url": Option(_SERVER, "Another API than that of the environment.", metavar="URL"),
    "authority": Option(_SERVER, "Another identity server than that of the environment.", metavar="URL"),
    "token_url": Option(_SERVER, "The token endpoint, where it is not to be found by discovery at the authority.", metavar="URL"),
    "client_auth": Option(_SERVER, "How the client proves itself there. Default: body.", metavar="body|basic"),
    "ca_file": Option(_SERVER, "Certificate authorities to trust (PEM) instead of the system's.", metavar="PATH"),
    "trade_platform": Option(_HUB, "The trade server's GUID.", metavar="GUID"),
    "hub": Option(_HUB, "Which hub. Default: mt4-v2.", metavar="mt4-v1|mt4-v2|mt5-v2"),
    "bearer_in": Option(_HUB, "Where the bearer of the socket stands. Default: header.", metavar="header|access_token|signalr_token"),
    "skip_negotiation": Option(_HUB, "Open the socket at once.", bool),
    "connect_timeout": Option(_TIMES, "For the connection to stand.", float, metavar="SECONDS"),
    "handshake_timeout": Option(_TIMES, "For the hub's handshake.", float, metavar="SECONDS"),
    "request_timeout": Option(_TIMES, "For a REST call.", float, metavar="SECONDS"),
    "call_timeout": Option(_TIMES, "For a call of the hub.", float, metavar="SECONDS"),
    "close_timeout": Option(_TIMES, "For an orderly goodbye.", float, metavar="SECONDS"),
}

OPTIONS: Final = Options(PREFIX, _TABLE)
ALL: Final = tuple(_TABLE)
