"""A bare client of the sandboxed broker: aiohttp, and joserfc for assertions, as a foreign program would do it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwk, jws

from tradesession.sandbox import Sandbox
from tradesession.sandbox.tradingview import TradingViewSandbox
from tradesession.sandbox.tradingview.assertion import spellings

PATIENCE = 60.0
"""Seconds for anything on loopback, also on a machine that has much else to do."""


class Broker:
    """Talks to the sandboxed broker; `token` is used for data once there is one."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.server: TradingViewSandbox = sandbox.tradingview
        self.token = ""
        self.tls = ssl.create_default_context(cafile=str(self.server.ca_file))
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=PATIENCE),
            auto_decompress=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    # --- tokens ---

    async def log_in(self, slot: int = 1, **changed: Any) -> dict[str, Any]:
        """POST /authorize; keeps the token that comes."""
        credential = self.server.credentials[slot - 1]
        form: dict[str, Any] = {"login": credential.login, "password": credential.password, "locale": "en"}
        _, reply = await self.post("/authorize", form | changed)
        self.token = reply.get("access_token") or reply.get("d", {}).get("access_token") or self.token
        return reply

    def claims(self, slot: int = 1, **changed: Any) -> dict[str, Any]:
        """What an assertion says; None leaves a claim out."""
        credential = self.server.credentials[slot - 1]
        claims = {
            "iss": credential.client_id,
            "sub": credential.user_id,
            "aud": self.server.token_url,
            "exp": int(self.sandbox.clock.wall()) + 60,
            "spurl": credential.app_url,
        }
        return {name: value for name, value in (claims | changed).items() if value is not None}

    def assertion(
        self, slot: int = 1, *, x5t: str | None = "base64url", key: bytes | None = None, alg: str = "RS256", **claims: Any
    ) -> str:
        """A signed assertion; `x5t` is a spelling, or a text as it is."""
        key_file, certificate_file = self.server.key_files(slot)
        header = {"alg": alg} | ({} if x5t is None else {"x5t": spellings(der_of(certificate_file)).get(x5t, x5t)})
        payload = json.dumps(self.claims(slot, **claims)).encode()
        signer = jwk.OctKey.import_key(key or b"") if alg.startswith("HS") else jwk.RSAKey.import_key(key or key_file.read_bytes())
        return jws.serialize_compact(header, payload, signer, algorithms=[alg])

    async def present(self, assertion: str, slot: int = 1, **changed: Any) -> tuple[int, dict[str, Any]]:
        """POST an assertion to the token URL; keeps the token that comes."""
        credential = self.server.credentials[slot - 1]
        form = {
            "grant_type": credential.grant_type,
            "assertion": assertion,
            "client_id": credential.client_id,
            "client_secret": credential.client_secret,
        }
        status, reply = await self.post("/authorize/token", form | changed)
        self.token = reply.get("access_token", self.token)
        return status, reply

    async def refresh(self, refresh_token: str, slot: int | None = None) -> tuple[int, dict[str, Any]]:
        """Spend a refresh token; with a slot, as its client."""
        form: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if slot is not None:
            credential = self.server.credentials[slot - 1]
            form |= {"client_id": credential.client_id, "client_secret": credential.client_secret}
        return await self.post("/authorize/token", form)

    # --- requests ---

    async def post(self, path: str, form: Mapping[str, str | None], **headers: str) -> tuple[int, dict[str, Any]]:
        """A form; None leaves a field out."""
        fields = {name: value for name, value in form.items() if value is not None}
        async with self._http.post(self.server.base_url + path, data=fields, headers=headers) as response:
            return response.status, json.loads(await response.read() or b"{}")

    async def get(self, path: str, *, token: str | None = None, **query: Any) -> tuple[int, Any]:
        """A data endpoint; the status and the JSON that came."""
        async with self._http.get(self.server.base_url + path, params=query, headers=self._bearer(token)) as response:
            return response.status, json.loads(await response.read())

    async def ok(self, path: str, **query: Any) -> Any:
        """The same, where it must be well."""
        status, reply = await self.get(path, **query)
        assert (status, reply["s"]) == (200, "ok"), reply
        return reply

    async def raw(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body as they are."""
        async with self._http.get(self.server.base_url + path, headers=self._bearer(None), allow_redirects=False) as response:
            return response.status, response.headers.get("Location", response.content_type), await response.read()

    @asynccontextmanager
    async def stream(self, token: str | None = None, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The stream, open."""
        async with self._http.get(self.server.base_url + "/streaming", headers=self._bearer(token) | headers) as response:
            yield response

    def _bearer(self, token: str | None) -> dict[str, str]:
        token = self.token if token is None else token
        return {"Authorization": f"Bearer {token}"} if token else {}


async def heard(sandbox: Sandbox, response: aiohttp.ClientResponse, count: int) -> list[bytes]:
    """So many lines of an open stream, with their ends, while the clock is pushed on; fewer when the stream ends before."""
    lines: list[bytes] = []

    async def listen() -> None:
        while len(lines) < count and (line := await response.content.readline()):
            lines.append(line)

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(PATIENCE):
            while not listening.done():
                await sandbox.clock.advance(seconds=1)
                await asyncio.sleep(0.001)  # the kernel's turn
    finally:
        listening.cancel()
    listening.result()
    return lines


def der_of(certificate_file: Path) -> bytes:
    """The certificate as it is signed."""
    return x509.load_pem_x509_certificate(certificate_file.read_bytes()).public_bytes(Encoding.DER)
