"""Where things are at CPlugin: environments, hubs, REST paths.

Pure. The hosts and paths are those of the vendor's documents and SDKs; the path of Organizations follows from their naming rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from tradesession.errors import InvalidRequest

Environment: TypeAlias = Literal["prod", "staging", "custom"]
HubName: TypeAlias = Literal["mt4-v1", "mt4-v2", "mt5-v2"]

DISCOVERY: Final = "/.well-known/openid-configuration"
"""Below the authority (OpenID Connect Discovery 1.0, 4)."""

ORGANIZATIONS: Final = "/api/Organizations"
TRADE_PLATFORMS: Final = "/api/TradePlatforms"
PING: Final = "/api/TradePlatforms/{tradePlatform}/Ping"


@dataclass(frozen=True, slots=True)
class Place:
    """One environment: where its API and its identity server are."""

    base_url: str
    authority: str


PLACES: Final[Mapping[str, Place]] = {
    "prod": Place("https://cloud.mywebapi.com", "https://auth.cplugin.net"),
    "staging": Place("https://pre.mywebapi.com", "https://pre.auth.cplugin.net"),
}

HUBS: Final[Mapping[HubName, str]] = {"mt4-v1": "/hubs/mt4/v1", "mt4-v2": "/hubs/mt4/v2", "mt5-v2": "/hubs/mt5/v2"}
"""The paths of the hubs. Those of v2 have the trade platform in the query, that of v1 takes it as an argument of each method."""

_BRACE: Final = re.compile(r"\{(\w+)\}")
_STEPS: Final = frozenset({".", ".."})
_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/{}]*")


def hub_address(base_url: str, hub: HubName, trade_platform: str) -> str:
    """The address of a hub."""
    query = "" if hub == "mt4-v1" else f"?tradePlatform={quote(trade_platform, safe='')}"
    return f"{base_url.rstrip('/')}{HUBS[hub]}{query}"


def rest_address(base_url: str, path: str, parts: Mapping[str, object]) -> str:
    """The address of a path, with its {braces} filled. Raises InvalidRequest for a path that is none, or lacks a part."""
    if not _PATH.fullmatch(path) or path.startswith("//"):
        raise InvalidRequest(f"{path!r} is no path of the API: it begins with one / and holds no host, query or space")

    def fill(brace: re.Match[str]) -> str:
        value = parts.get(brace[1])
        if value is None or value == "":
            raise InvalidRequest(f"{path} wants {brace[1]}: give parts={{'{brace[1]}': …}}")
        return quote(str(value), safe="")

    filled = _BRACE.sub(fill, path)
    if not _STEPS.isdisjoint(filled.split("/")):
        raise InvalidRequest(f"{filled!r} is no path of the API: a server takes its . and .. for another one")
    return base_url.rstrip("/") + filled


def is_enveloped(path: str) -> bool:
    """Whether answers come in the envelope of v2."""
    return path.lower().startswith("/api/v2/")
