"""OAuth over HTTP: the consent page and the token endpoint. Facts: section 7.

Plain HTTP on loopback: a browser would not trust the sandbox's authority, and RFC 8252 allows it there. Owns its web server.
Always holds: a redirect goes only to a URI that the application registered, and nothing is logged, for URLs carry secrets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from tradesession.sandbox.ctrader.core import Core
from tradesession.sandbox.ctrader.pages import consent_page, refusal_page
from tradesession.sandbox.ctrader.refusal import GrantRefused
from tradesession.sandbox.ctrader.state import SCOPES, Application, Ctid, Grant
from tradesession.timing import sleep

AUTH_PATH: Final = "/my/settings/openapi/grantingaccess/"
OLD_AUTH_PATH: Final = "/apps/auth"
"""Where the older SDKs send people; the same page."""
TOKEN_PATH: Final = "/apps/token"  # noqa: S105 - a path

_CARRIED: Final = ("client_id", "redirect_uri", "scope", "state", "product")
_SHUTDOWN_TIMEOUT: Final = 1.0


class OAuthServer:
    """The web server of one sandboxed cTrader. `person` is who gives consent: there is no login."""

    def __init__(self, core: Core, person: Ctid, host: str) -> None:
        self._core = core
        self._person = person
        self._host = host
        self._runner: web.AppRunner | None = None
        self._origin = ""

    @property
    def auth_url(self) -> str:
        """Where a person is sent for consent."""
        return self._origin + AUTH_PATH

    @property
    def token_url(self) -> str:
        """Where codes and refresh tokens are exchanged."""
        return self._origin + TOKEN_PATH

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        for path in (AUTH_PATH, OLD_AUTH_PATH):
            app.router.add_get(path, self._ask)
            app.router.add_post(path, self._decide)
        app.router.add_get(TOKEN_PATH, self._token)
        app.router.add_post(TOKEN_PATH, self._token)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        port = self._runner.addresses[0][1]
        self._origin = f"http://[{self._host}]:{port}" if ":" in self._host else f"http://{self._host}:{port}"

    async def aclose(self) -> None:
        """Stop listening and close what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- consent ---

    async def _ask(self, request: web.Request) -> web.Response:
        return self._consent(dict(request.query))

    async def _decide(self, request: web.Request) -> web.Response:
        form = await request.post()
        parameters = dict(request.query)
        parameters.update({name: str(form[name]) for name in (*_CARRIED, "decision") if name in form})
        chosen = [str(value) for value in form.getall("account", [])]
        return self._consent(parameters, answered=True, chosen=chosen, from_page="page" in form)

    def _consent(
        self, parameters: Mapping[str, str], *, answered: bool = False, chosen: list[str] | None = None, from_page: bool = False
    ) -> web.Response:
        application = self._core.state.applications.get(parameters.get("client_id", ""))
        redirect_uri = parameters.get("redirect_uri", "")
        if application is None:
            return _refused("The client_id is not known.")
        if not self._core.state.accepts_redirect(application, redirect_uri):
            return _refused("The redirect_uri is not one that the application registered.")
        scope = parameters.get("scope", "")
        if scope not in SCOPES:
            return self._redirect(redirect_uri, parameters, error="invalid_scope", error_description=f"scope is one of {', '.join(SCOPES)}")
        if not answered:
            return self._page(application, scope, parameters)
        if parameters.get("decision") != "allow":
            return self._redirect(redirect_uri, parameters, error="access_denied", error_description="The person said no")
        own = {account.id for account in self._person.accounts}
        ids = [int(text) for text in chosen or () if text.isdecimal() and int(text) in own]
        if not ids and (from_page or chosen):
            return self._page(application, scope, parameters, "Choose at least one account.")
        code = self._core.state.add_code(application, self._person, scope, ids or own, redirect_uri)
        return self._redirect(redirect_uri, parameters, code=code)

    def _page(self, application: Application, scope: str, parameters: Mapping[str, str], note: str = "") -> web.Response:
        hidden = {name: parameters[name] for name in _CARRIED if name in parameters} | {"page": "1"}
        return _html(consent_page(application, scope, self._person.accounts, hidden, note))

    def _redirect(self, uri: str, parameters: Mapping[str, str], **answer: str) -> web.Response:
        if self._core.settings.echo_state and "state" in parameters:
            answer["state"] = parameters["state"]
        parts = urlsplit(uri)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *answer.items()])
        return web.Response(status=302, headers={"Location": urlunsplit(parts._replace(query=query)), "Cache-Control": "no-store"})

    # --- tokens ---

    async def _token(self, request: web.Request) -> web.StreamResponse:
        faults = self._core.faults
        if faults.token_status:
            return web.Response(status=faults.token_status, text="fault: token status")
        form = await request.post()
        parameters = dict(request.query) | {name: str(value) for name, value in form.items()}
        try:
            body, status = self._success(self._exchange(parameters)), 200
        except GrantRefused as refused:
            body, status = self._failure(refused)
        if faults.token_delay:
            await sleep(self._core.clock, faults.token_delay)
        if faults.token_reply_lost and request.transport is not None:
            request.transport.abort()
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    def _exchange(self, parameters: Mapping[str, str]) -> Grant:
        application = self._core.state.applications.get(parameters.get("client_id", ""))
        if application is None or application.client_secret != parameters.get("client_secret"):
            raise GrantRefused("invalid_client", "Access denied. Make sure the credentials are valid.")
        match parameters.get("grant_type"):
            case "authorization_code":
                return self._core.state.exchange_code(parameters.get("code", ""), parameters.get("redirect_uri", ""), application)
            case "refresh_token":
                grant, death = self._core.state.refresh(parameters.get("refresh_token", ""), application)
                self._core.state.announce(death)
                return grant
            case None:
                raise GrantRefused("invalid_request", "grant_type is missing")
            case _:
                raise GrantRefused("unsupported_grant_type", "grant_type is authorization_code or refresh_token")

    def _success(self, grant: Grant) -> dict[str, object]:
        body: dict[str, object] = {
            "accessToken": grant.access_token,
            "tokenType": "bearer",
            "expiresIn": grant.expires_in,
            "refreshToken": grant.refresh_token,
            "errorCode": None,
            "description": None,
        }
        if self._core.settings.snake_case_copies:
            body |= {"access_token": grant.access_token, "refresh_token": grant.refresh_token, "expires_in": grant.expires_in}
        return body

    def _failure(self, refused: GrantRefused) -> tuple[dict[str, object], int]:
        if self._core.settings.oauth_error_shape == "rfc6749":
            status = 401 if refused.error == "invalid_client" else 400
            return {"error": refused.error, "error_description": refused.description}, status
        code = "ACCESS_DENIED" if refused.error in ("invalid_client", "invalid_grant") else "INVALID_REQUEST"
        body: dict[str, object] = {"accessToken": None, "tokenType": None, "expiresIn": None, "refreshToken": None}
        return {**body, "errorCode": code, "description": refused.description}, self._core.settings.oauth_error_status


def _html(page: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    return web.Response(text=page, content_type="text/html", status=status, headers=headers)


def _refused(reason: str) -> web.Response:
    return _html(refusal_page(reason), status=400)
