"""Credentials: what a broker gave us to be let in with, in the kinds that TradingView's documents know.

Pure apart from `from_files`, which reads the files at once. Secrets may be given as plain strings and are kept as `Secret`. Raise
ConfigurationError, naming the option, for anything that cannot be meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.options import is_text
from tradesession.protocol.http import origin
from tradesession.secrets import Secret
from tradesession.tokens.grants import JWT_BEARER, ClientAuth
from tradesession.tradingview.keys import KeySigner, PathLike, Signer, X5t, read_certificate, read_key_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """In what the servers of one kind differ: the grant's name, the spelling of x5t, and how the client proves itself.

    `jti` is for servers that refuse claims that they do not know, against RFC 7519 (4): without it two processes that ask in the same
    second send equal assertions, and a server that looks for replays refuses one of them.
    """

    grant_type: str = JWT_BEARER
    x5t: X5t = X5t.BASE64URL
    client_auth: ClientAuth = ClientAuth.BODY
    jti: bool = True


TRADINGVIEW: Final = Variant()
"""A broker's server by TradingView's documents. The broker picks the grant's name; unless it says otherwise it is RFC 7523's."""

SAXO: Final = Variant(grant_type="urn:saxobank:oauth:grant-type:personal-jwt", x5t=X5t.HEX, client_auth=ClientAuth.BASIC)
"""Saxo Bank's Certificate Based Authentication, by its documents and samples: the same claims under another grant type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOAuth2Bearer:
    """A client whose certificate the broker knows: an assertion signed with its key is exchanged for a token.

    The names in TradingView's documents: `app_url` is AppUrl (claim spurl), `user_id` UserId (sub), `client_id` iss, and `token_url` is
    where the token is asked for. `audience` (aud) is the token URL, and only ever what stands here: one on another host is refused, since
    an assertion for another server may be used there, unless `foreign_audience` says that it is meant.

    `signer` signs with the key of `certificate` (DER or PEM); `from_files` makes both from files. `lifetime` of an assertion is in
    seconds, 5 to 300. Refresh tokens are used while they live; then a new assertion begins a new session (see `hooks.SessionReplaced`).
    """

    token_url: str
    client_id: str
    client_secret: Secret | str
    user_id: str
    app_url: str
    signer: Signer = field(repr=False, compare=False)
    certificate: bytes = field(repr=False)
    variant: Variant = TRADINGVIEW
    audience: str = ""
    foreign_audience: bool = False
    lifetime: float = policy.TRADINGVIEW_ASSERTION_LIFETIME

    def __post_init__(self) -> None:
        object.__setattr__(self, "client_secret", Secret(self.client_secret))
        object.__setattr__(self, "certificate", read_certificate(self.certificate))
        for name in ("client_id", "user_id", "app_url"):
            _needed(name, getattr(self, name))
        place = _url("token_url", self.token_url)
        if not self.audience:
            object.__setattr__(self, "audience", self.token_url)
        if not self.foreign_audience and urlsplit(self.audience).hostname != urlsplit(place).hostname:
            raise ConfigurationError(
                "audience is on another host than token_url: an assertion addressed to another server can be used there; "
                "if the broker wants it so, say foreign_audience=True"
            )
        shortest, longest = policy.TRADINGVIEW_ASSERTION_SHORTEST, policy.TRADINGVIEW_ASSERTION_LONGEST
        if not shortest <= self.lifetime <= longest:
            raise ConfigurationError(f"lifetime={self.lifetime:g} of an assertion must lie between {shortest:g} and {longest:g} s")

    @classmethod
    def from_files(
        cls,
        *,
        token_url: str,
        client_id: str,
        client_secret: Secret | str,
        user_id: str,
        app_url: str,
        key_file: PathLike,
        certificate_file: PathLike | None = None,
        passphrase: Secret | str | None = None,
        variant: Variant = TRADINGVIEW,
        audience: str = "",
        foreign_audience: bool = False,
        lifetime: float = policy.TRADINGVIEW_ASSERTION_LIFETIME,
    ) -> Self:
        """With a key and certificate in PEM (one file or two) or PKCS#12 (one file), which `passphrase` opens where they are encrypted."""
        signer, certificate = read_key_files(key_file, certificate_file, passphrase)
        return cls(
            token_url=token_url,
            client_id=client_id,
            client_secret=client_secret,
            user_id=user_id,
            app_url=app_url,
            signer=signer,
            certificate=certificate,
            variant=variant,
            audience=audience,
            foreign_audience=foreign_audience,
            lifetime=lifetime,
        )

    @property
    def signs_here(self) -> bool:
        """Whether signing takes no time to speak of: the key is in memory."""
        return isinstance(self.signer, KeySigner)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordBearer:
    """A user's login and password, posted to `/authorize`. A password that is refused is never sent a second time by itself.

    `url` replaces the base URL's /authorize. `locale` chooses the language of error texts. A token that ends is followed by another login,
    which is always allowed, or with `refresh="oauth"` by spending its refresh token at `token_url` (as `client_id`, where the broker wants
    one): no document says where that is, so the broker has to.
    """

    login: str
    password: Secret | str
    locale: str = "en"
    url: str = ""
    refresh: Literal["login", "oauth"] = "login"
    token_url: str = ""
    client_id: str = ""
    client_secret: Secret | str = ""

    def __post_init__(self) -> None:
        for name in ("password", "client_secret"):
            object.__setattr__(self, name, Secret(getattr(self, name)))
        _needed("login", self.login)
        if not self.password:
            raise ConfigurationError("password is empty")
        if self.refresh not in ("login", "oauth"):
            raise ConfigurationError(f"refresh={self.refresh!r} is none of login, oauth")
        if self.url:
            _url("url", self.url)
        if self.refresh == "oauth":
            _url("token_url", self.token_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedToken:
    """A token that the broker handed out by hand. `expires_at` is in seconds since 1970, where it is known."""

    token: Secret | str
    expires_at: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", Secret(self.token))
        if not self.token:
            raise ConfigurationError("token is empty; for public data say auth=None")


Credential: TypeAlias = ServerOAuth2Bearer | PasswordBearer | FixedToken
"""What a Config takes as `auth`; None is for public data."""

KINDS: Final = get_args(Credential)
"""The classes of them."""


def _needed(name: str, value: str) -> None:
    if not value:
        raise ConfigurationError(f"{name} is empty; the broker has given it to you")
    if not is_text(value):
        raise ConfigurationError(f"{name} holds bytes that are no UTF-8 text; set it anew")


def _url(name: str, value: str) -> str:
    try:
        return origin(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
