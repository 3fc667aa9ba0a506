"""The options of the TradingView commands: one table, in the words of `tradesession.tradingview.config.from_options`."""

from __future__ import annotations

from typing import Final

from tradesession.cli.options import STORE, Option, Options
from tradesession.tradingview.config import PREFIX

_SERVER: Final = "Server"
_CERTIFICATE: Final = "Authentication by certificate (ServerOAuth2Bearer)"
_PASSWORD: Final = "Authentication by password (PasswordBearer)"  # noqa: S105 - a heading
_OTHERS: Final = "Other authentication"
_TIMES: Final = "Time limits, in seconds"

_TABLE: Final = {
    "base_url": Option(_SERVER, "What /symbol_info and the others are appended to on the broker's server.", metavar="URL"),
    "ca_file": Option(_SERVER, "Certificate authorities to trust (PEM) instead of the system's.", metavar="PATH"),
    "streams": Option(_SERVER, "Connections to /streaming, 0 to 4. Default: 1.", int, metavar="NUMBER"),
    "slot": Option(_SERVER, "A name of your own that tells several credential sets apart. Default: default.", metavar="NAME"),
    "store": STORE,
    "auth": Option(
        _OTHERS,
        "Default: that whose options are there, server before password before token; else none.",
        metavar="server|password|token|none",
    ),
    "token": Option(_OTHERS, "Use this token as it is, and renew nothing.", metavar="TOKEN"),
    "token_url": Option(_CERTIFICATE, "The token endpoint, and the assertion's aud unless --audience says otherwise.", metavar="URL"),
    "app_url": Option(_CERTIFICATE, "The AppUrl that the broker gave out (claim spurl).", metavar="URL"),
    "user_id": Option(_CERTIFICATE, "The UserId (claim sub).", metavar="ID"),
    "client_id": Option(_CERTIFICATE, "The client's id (claim iss).", metavar="ID"),
    "client_secret": Option(_CERTIFICATE, "Its secret. Better by its variable: other users see command lines.", metavar="SECRET"),
    "key_file": Option(_CERTIFICATE, "The private key: PEM, or PKCS#12 with its certificate.", metavar="PATH"),
    "certificate_file": Option(_CERTIFICATE, "The certificate (PEM), where it is not in the key's file.", metavar="PATH"),
    "passphrase": Option(_CERTIFICATE, "What opens an encrypted key. Better by its variable.", metavar="SECRET"),
    "grant_type": Option(_CERTIFICATE, "The grant's name that the broker picked. Default: RFC 7523's.", metavar="URN"),
    "audience": Option(_CERTIFICATE, "The assertion's aud, where it is not the token URL.", metavar="URL"),
    "foreign_audience": Option(_CERTIFICATE, "It may be on another host than the token URL.", bool),
    "x5t": Option(
        _CERTIFICATE,
        "How the certificate's thumbprint is spelt. Default: base64url, the RFC's.",
        metavar="base64url|base64url-padded|hex|hex-lower|base64url-of-hex",
    ),
    "variant": Option(_CERTIFICATE, "Whose rules grant type and x5t follow by default. Default: tradingview.", metavar="tradingview|saxo"),
    "assertion_lifetime": Option(_CERTIFICATE, "Life of an assertion, 5 to 300. Default: 60.", float, metavar="SECONDS"),
    "login": Option(_PASSWORD, "The login that the broker gave out.", metavar="NAME"),
    "password": Option(_PASSWORD, "Its password, which is sent once. Better by its variable.", metavar="SECRET"),
    "authorize_url": Option(_PASSWORD, "Where it is posted to. Default: /authorize at the base URL.", metavar="URL"),
    "locale": Option(_PASSWORD, "The language of error texts. Default: en.", metavar="CODE"),
    "refresh": Option(_PASSWORD, "How a token that ends is followed up: another login, or OAuth's refresh.", metavar="login|oauth"),
    "connect_timeout": Option(_TIMES, "For a stream to begin.", float, metavar="SECONDS"),
    "request_timeout": Option(_TIMES, "For a read, with its repetitions.", float, metavar="SECONDS"),
    "close_timeout": Option(_TIMES, "For an orderly goodbye.", float, metavar="SECONDS"),
}

OPTIONS: Final = Options(PREFIX, _TABLE)
ALL: Final = tuple(_TABLE)
HANDSHAKE: Final = tuple(name for name in _TABLE if name != "store")
