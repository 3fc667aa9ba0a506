"""The two ends of a consent: the address to send a person to, and what the redirect back says.

Does no I/O. Always holds: no message repeats a code, a state or what a person pasted.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from tradesession.errors import ConfigurationError, ReauthorizationRequired, TokenError, TokenRefused
from tradesession.secrets import Secret
from tradesession.transports.http import safe_origin

_CODE_LIMIT: Final = 4096  # characters; real codes have under a hundred
_TEXT_LIMIT: Final = 200  # characters of a server's text that go into a message
_NO_CONSENT: Final = frozenset({"access_denied", "consent_required", "interaction_required", "login_required"})


def new_state() -> Secret:
    """A fresh value for the `state` parameter: 256 random bits. Also a good PKCE verifier."""
    return Secret(secrets.token_urlsafe(32))


def pkce_challenge(verifier: Secret) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def authorization_url(base: str, **parameters: str | Secret | None) -> str:
    """The address of the consent page with these parameters; None and empty ones are left out.

    A query that `base` already has is kept; a parameter of the same name replaces what is there (none may come twice: RFC 6749, 3.1).
    The result is for a person's eyes and browser and holds `state` in the clear. Raises ConfigurationError for what is no https URL.
    """
    safe_origin(base)
    ours = {name: value.reveal() if isinstance(value, Secret) else value for name, value in parameters.items() if value}
    parts = urlsplit(base)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in ours]
    query = urlencode([*kept, *ours.items()], quote_via=quote, safe="")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))


@dataclass(frozen=True, slots=True)
class Redirect:
    """What a redirect brought; exactly one of the three is set. `fault` is a sentence for a person."""

    code: Secret | None = None
    refusal: TokenError | None = None
    fault: str = ""

    @classmethod
    def read(cls, query: str, state: Secret | None = None, *, require_state: bool = False) -> Self:
        """Judge the query of a redirect.

        A plus stands for itself in a code and in a state: what is rightly encoded has none, and some servers forget to encode it.
        """
        fields: dict[str, str] = {}
        for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
            if name in fields and name in ("code", "state", "error"):
                return cls(fault=f"it carries {name} twice")
            fields[name] = value
        echoed = fields.get("state", "")
        if state is not None and echoed and Secret(echoed) != state:
            return cls(fault="its state is not the one of this login: it belongs to another login, or it is not genuine")
        if state is not None and not echoed and require_state:
            return cls(fault="it carries no state, so it cannot be told from a forged one")
        if error := fields.get("error", ""):
            return cls(refusal=_refusal(_tidy(error), _tidy(fields.get("error_description", "").replace("+", " "))))
        code = fields.get("code", "")
        if not code:
            return cls(fault="it carries no code")
        if not _is_code(code):
            return cls(fault="its code is damaged: it holds characters that no code has, or is far too long")
        return cls(code=Secret(code))


def parse_pasted(text: str, state: Secret | None = None, *, require_state: bool = False) -> Secret:
    """The code in what a person pasted: the whole address that the browser ended at, its query alone, or the bare code.

    Raises ConfigurationError for the usual mistakes, and ReauthorizationRequired or TokenRefused when the address says that the
    consent page refused.
    """
    pasted = text.strip().strip("\"'<>`").strip()
    if not pasted:
        raise ConfigurationError("nothing was pasted; paste the address that the browser ends at after you have agreed")
    if re.search(r"\s", pasted):
        raise ConfigurationError("what was pasted has spaces or line breaks inside; copy the address or the code in one piece")
    if "://" not in pasted and not re.search(r"(^|[?&#])(code|error|state)=", pasted):
        return _bare_code(pasted)
    redirect = Redirect.read(_query_of(pasted), state, require_state=require_state)
    if redirect.refusal is not None:
        raise redirect.refusal
    if redirect.code is None:
        remedy = "paste the address that the browser ends at after you have agreed"
        if "client_id=" in pasted:
            remedy = "it is the address of the consent page itself: open it, agree, and paste the address that the browser ends at"
        raise ConfigurationError(f"the pasted address is of no use: {redirect.fault}; {remedy}")
    return redirect.code


def _bare_code(pasted: str) -> Secret:
    code = unquote(pasted) if re.search(r"%[0-9A-Fa-f]{2}", pasted) else pasted  # copied out of an address bar
    if not _is_code(code) or code[0] in "{[":
        raise ConfigurationError("what was pasted is neither an address nor a code; paste the whole address that the browser ends at")
    return Secret(code)


def _query_of(pasted: str) -> str:
    """The query of a URL, or its fragment when it has no query, or the text itself when it is a query already."""
    if "://" not in pasted and "?" not in pasted and "#" not in pasted:
        return pasted
    before, _, fragment = pasted.partition("#")
    return before.partition("?")[2] or fragment


def _refusal(error: str, description: str) -> TokenError:
    said = f"{error} ({description})" if description else error
    if error.lower() in _NO_CONSENT:
        return ReauthorizationRequired(f"consent was not given: {said}; start the login again and agree on the page")
    return TokenRefused(
        f"the consent page refused with {said}: check the client id, the redirect URI and the scope", code=error, description=description
    )


def _tidy(text: str) -> str:
    """One printable, short line."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= _TEXT_LIMIT else line[:_TEXT_LIMIT] + "…"


def _is_code(text: str) -> bool:
    return 0 < len(text) <= _CODE_LIMIT and text.isascii() and text.isprintable() and " " not in text
