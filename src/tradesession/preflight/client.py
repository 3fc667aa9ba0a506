"""The way to the server: each request becomes an `Exchange`, whatever comes of it.

Owns two HTTP drivers. Always holds: no answer of a server raises anything here, how broken it may be; only a server that cannot be reached
at all does, before it has answered once. Remembers every secret that it has sent or got, so that `redact` can keep them out of a report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from tradesession.clock import Clock
from tradesession.errors import Error, LinkLost, Unreachable
from tradesession.preflight.evidence import Line, Stream
from tradesession.preflight.exchange import Exchange
from tradesession.preflight.plan import Plan
from tradesession.protocol.http import HttpRequest
from tradesession.secrets import Secret, redact_text
from tradesession.timing import deadline
from tradesession.transports.http import HttpDriver, HttpStream

_PATIENCE: Final = 2
"""Times that an endpoint may let the time run out; then it is asked no more."""

Form = Mapping[str, str | Secret]


class Client:
    """Talks to one server."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._driver = HttpDriver(plan.origins, ca_file=plan.ca_file, clock=clock, timeout=plan.request_timeout, keep_alive=True)
        until_first_message = 2 * plan.request_timeout  # with which some servers send their headers
        self._streams = HttpDriver(plan.origins, ca_file=plan.ca_file, clock=clock, timeout=until_first_message)
        self._late: Counter[str] = Counter()
        self._secrets: list[Secret] = []
        self._has_answered = False
        self.requests = 0
        """How many were sent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._streams.aclose()
        await self._driver.aclose()

    # --- secrets ---

    def keep_secret(self, *values: str | Secret) -> None:
        """Never show these."""
        self._secrets += [secret for secret in map(Secret, values) if secret and secret not in self._secrets]

    def redact(self, text: str) -> str:
        """The text without any of them."""
        return redact_text(text, self._secrets)

    # --- requests ---

    async def get(self, path: str, token: Secret | None, *, limit: int | None = None, **query: str | int) -> Exchange:
        """An endpoint, asked with that token."""
        what = f"GET {path}" + (f"?{urlencode(query)}" if query else "")
        request = self._request("GET", self._plan.base_url + path, token, query={name: str(value) for name, value in query.items()})
        return await self._send(request, what, limit or self._plan.reply_limit)

    async def post(self, url: str, what: str, form: Form) -> Exchange:
        """A form; what is secret in it is remembered, and so are the tokens that come."""
        self.keep_secret(*(value for value in form.values() if isinstance(value, Secret)))
        exchange = await self._send(self._request("POST", url, None, form=form), what, self._plan.token_limit)
        reply = exchange.reply or {}
        inner = reply.get("d")
        for values in (reply, inner if isinstance(inner, dict) else {}):
            self.keep_secret(*(values[name] for name in ("access_token", "refresh_token") if isinstance(values.get(name), str)))
        return exchange

    async def head_of_stream(self, token: Secret | None) -> Exchange:
        """How /streaming answers; of a stream that is opened nothing is read."""
        return await self._send(
            self._request("GET", f"{self._plan.base_url}/streaming", token), "GET /streaming", self._plan.reply_limit, endless=True
        )

    async def stream(self, token: Secret | None, number: int, seconds: float) -> Stream:
        """Listen to /streaming for so long."""
        what = f"GET /streaming, connection {number}"
        self.requests += 1
        try:
            stream = await self._streams.open(self._request("GET", f"{self._plan.base_url}/streaming", token))
        except Error as error:
            return Stream(Exchange(what, error=_cause(error)))
        lines: list[Line] = []
        opened = self._clock.wall()
        try:
            ending = await self._listen(stream, lines, seconds) if stream.status == 200 else ""
        finally:
            stream.close()
        opening = Exchange(what, stream.status, stream.headers, sent_at=opened, done_at=opened)
        return Stream(opening, tuple(lines), opened, self._clock.wall(), ending)

    async def _listen(self, stream: HttpStream, lines: list[Line], seconds: float) -> str:
        """Read lines until the time is over; how the stream ended before, if it did."""
        rest, total = b"", 0
        try:
            async with deadline(self._clock, seconds):
                while chunk := await stream.read():
                    total += len(chunk)
                    *whole, rest = (rest + chunk).split(b"\n")
                    lines += [Line(line + b"\n", self._clock.wall()) for line in whole]
                    if len(rest) > self._plan.line_limit:
                        return f"a line of more than {self._plan.line_limit} bytes came"
                    if total > self._plan.stream_limit:
                        return f"more than {self._plan.stream_limit} bytes came"
        except TimeoutError:
            return ""
        except LinkLost as lost:
            return str(lost)
        return "the server closed it" + (" in the middle of a line" if rest else "")

    def _request(
        self, method: str, url: str, token: Secret | None, *, query: Mapping[str, str] | None = None, form: Form | None = None
    ) -> HttpRequest:
        headers = [("Accept", "application/json")]
        bearer = () if token is None else (("Authorization", Secret(f"Bearer {token.reveal()}")),)
        return HttpRequest(
            method=method, url=url, query=tuple((query or {}).items()), form=tuple((form or {}).items()), headers=(*headers, *bearer)
        )

    async def _send(self, request: HttpRequest, what: str, limit: int, *, endless: bool = False) -> Exchange:
        endpoint = what.partition("?")[0]
        if self._late[endpoint] >= _PATIENCE:
            return Exchange(what, error="not asked: it has let the time run out before")
        self.requests += 1
        sent_at, until = self._clock.wall(), self._clock.monotonic() + self._plan.request_timeout
        try:
            stream = await self._driver.open(request)  # which tells a server that cannot be reached from one that says nothing
            self._has_answered = True
            try:
                async with deadline(self._clock, until - self._clock.monotonic()):
                    reply = None if endless and stream.status == 200 else await stream.whole(limit)
            finally:
                stream.close()
        except (Error, TimeoutError) as error:
            if isinstance(error, Unreachable) and not self._has_answered:
                raise
            is_late = self._clock.monotonic() >= until
            self._late[endpoint] += is_late
            cause = f"no whole answer within {self._plan.request_timeout:g} s" if is_late else _cause(error)
            return Exchange(what, error=cause, sent_at=sent_at, done_at=self._clock.wall())
        body, damage = (b"", "") if reply is None else (reply.body, reply.damage)
        return Exchange(what, stream.status, stream.headers, body, damage, sent_at, self._clock.wall())


def _cause(error: Exception) -> str:
    """What an error says behind the name of the request, which stands elsewhere."""
    text = str(error)
    return text.rpartition("(")[2].partition(")")[0] or text if "(" in text else text
