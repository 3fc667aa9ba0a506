"""B2Core's front office over HTTP: the sign-in wizard, its second factors, the refresh, the platforms and their pairs. Facts: B1, B2.

Answers with plain values; the server turns them into HTTP. Always holds: a body's `code` is 200 for a step and 202 for the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tradesession.sandbox.b2core.settings import Faults, Settings
from tradesession.sandbox.b2core.state import OTHER_PLATFORM_ID, PLATFORM_ID, Bearer, Pair, Refused, SignIn, State

JsonObject = dict[str, Any]

_PLATFORMS: Final = (
    {"id": PLATFORM_ID, "name": "b2trader", "caption": "B2Trader", "type": "b2trader", "isDemo": False, "terminalUrl": ""},
    {"id": OTHER_PLATFORM_ID, "name": "mt5", "caption": "MetaTrader 5", "type": "mt5", "isDemo": False, "terminalUrl": ""},
)


class CoreApi:
    """The answers of one B2Core."""

    def __init__(self, state: State, settings: Settings, faults: Faults) -> None:
        self._state = state
        self._settings = settings
        self._faults = faults
        self.base_url = ""
        """What a pair's answer names as its host."""

    # --- the sign-in ---

    def wizard(self) -> JsonObject:
        """GET signin/wizard."""
        done = self._settings.wizard_done
        return {
            "code": 202 if done else 200,
            "data": {
                "recaptcha": {"enabled": self._faults.recaptcha},
                "is_qr_available": False,
                "is_password_recovery_available": True,
            },
            "done": done,
            "uuid": self._state.begin().uuid,
            "workflow": "login",
        }

    def sign_in(self, body: Mapping[str, str]) -> JsonObject:
        """POST signin."""
        named = [body.get(name, "") for name in ("uuid", "email", "password", "device_fingerprint")]
        sign_in = self._state.sign_in(*named)
        if self._faults.recaptcha:
            raise Refused(422, "The recaptcha field is required.", "recaptcha")
        if self._faults.forced_reset:
            return _step(sign_in.uuid, "password_reset")
        return self._next(sign_in)

    def choose(self, body: Mapping[str, str]) -> JsonObject:
        """POST signin/2fa."""
        return self._next(self._state.choose(body.get("uuid", ""), body.get("type", "")))

    def code(self, method: str, body: Mapping[str, str]) -> JsonObject:
        """POST 2fa/{method}."""
        return self._next(self._state.code(body.get("uuid", ""), method, body.get("code", "")))

    def refresh(self, body: Mapping[str, str]) -> JsonObject:
        """POST refresh."""
        bearer = self._state.refresh_bearer(body.get("refreshToken", ""), body.get("deviceFingerprint", ""))
        data = self._written(bearer)
        if self._settings.bearer_refresh_null:
            data["refreshToken"] = None
        return {"code": 200, "data": data, "done": True}

    def _next(self, sign_in: SignIn) -> JsonObject:
        if sign_in.wants == "choose":
            return _step(sign_in.uuid, "choose_2fa", {"tfaProviders": ["google", "sms"]})
        if sign_in.wants:
            return _step(sign_in.uuid, f"2fa_{sign_in.wants}", {"tfaProviders": [sign_in.wants]})
        data = self._written(self._state.finish(sign_in)) | {"tfaProviders": []}
        return {"code": 202, "data": data, "done": True, "uuid": sign_in.uuid, "workflow": "login"}

    def _written(self, bearer: Bearer) -> JsonObject:
        created = self._moment(bearer.created_at)
        return {
            "accessToken": {"token": bearer.access, "createdAt": created, "expiresAt": self._moment(bearer.expires_at)},
            "refreshToken": {"token": bearer.refresh, "createdAt": created, "expiresAt": self._moment(bearer.refresh_expires_at)},
        }

    def _moment(self, wall: float) -> str | int:
        moment = datetime.fromtimestamp(wall, UTC)
        match self._settings.moments:
            case "iso":
                return moment.isoformat()
            case "naive":
                return moment.strftime("%Y-%m-%d %H:%M:%S")
            case "unix":
                return int(wall)
            case "milliseconds":
                return int(wall * 1000)

    # --- platforms ---

    def platforms(self, authorization: str) -> list[JsonObject]:
        """GET platforms."""
        self._state.check_bearer(authorization)
        return [dict(platform) for platform in _PLATFORMS]

    def platform_auth(self, platform: int, authorization: str, geo: tuple[str, str]) -> JsonObject:
        """POST platforms/{id}/auth."""
        self._state.check_bearer(authorization)
        return self._pair(self._state.pair(platform, geo))

    def platform_refresh(self, platform: int, authorization: str, body: Mapping[str, str]) -> JsonObject:
        """POST platforms/{id}/refresh."""
        self._state.check_bearer(authorization)
        return self._pair(self._state.refresh_pair(platform, body.get("refreshToken", "")))

    def _pair(self, pair: Pair) -> JsonObject:
        answer: JsonObject = {
            "token": pair.access,
            "refreshToken": pair.refresh,
            "ttl": self._ttl(),
            "host": self._faults.host or self.base_url,
            "header": "Authorization",
        }
        if self._settings.ttl == "missing":
            del answer["ttl"]
        return answer

    def _ttl(self) -> str | int:
        life = int(self._settings.pair_life)
        match self._settings.ttl:
            case "number":
                return life
            case "milliseconds":
                return str(1000 * life)
            case "0" | "abc" as odd:
                return odd
            case _:
                return str(life)


def _step(ident: str, workflow: str, data: JsonObject | None = None) -> JsonObject:
    return {"code": 200, "data": data or {}, "done": False, "uuid": ident, "workflow": workflow}
