"""One client's connection: who it is, which accounts it may use, when it has been silent for too long, and what it asks.

No sockets, no tasks. Always holds: every request is answered exactly once (unless a fault says so), and nothing about an account is
answered before that account was authorised on this very connection. Facts: sections 2 to 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError, Message

from tradesession.clock import TimerHandle
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.sandbox.ctrader import market
from tradesession.sandbox.ctrader.channel import Channel
from tradesession.sandbox.ctrader.core import Core, Environment
from tradesession.sandbox.ctrader.limits import Limiter
from tradesession.sandbox.ctrader.outbox import Outbox
from tradesession.sandbox.ctrader.records import Asked, Invalidation
from tradesession.sandbox.ctrader.refusal import NOT_AUTHORIZED, Refusal
from tradesession.sandbox.ctrader.requests import Answer, handler_of
from tradesession.sandbox.ctrader.state import Account, Application, Grant, Scope
from tradesession.sandbox.ctrader.switches import selects
from tradesession.sandbox.ctrader.trading.desk import Cause
from tradesession.sandbox.ctrader.wire import Envelope, WireError, decode_envelope

_APPLICATION_AUTH: Final = registry.payload_type_of(pb.ProtoOAApplicationAuthReq)
_HEARTBEAT: Final = registry.payload_type_of(pb.ProtoHeartbeatEvent)
_VERSION: Final = registry.payload_type_of(pb.ProtoOAVersionReq)
_REFRESH: Final = registry.payload_type_of(pb.ProtoOARefreshTokenReq)
_ORDERS: Final = frozenset(map(registry.payload_type_of, registry.ORDER_REQUESTS))

_LOOK_AGAIN: Final = 1.0
"""Seconds until a limit that was reached without effect is looked at again."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """How an account came to be usable on a connection: by this access token, for this scope."""

    access_token: str = field(repr=False)
    scope: Scope


class Connection:
    """The session of one client, on one of the two environments."""

    def __init__(self, core: Core, environment: Environment, channel: Channel) -> None:
        self.core = core
        self.environment = environment
        self.channel = channel
        self.application: Application | None = None
        self.authorized: dict[int, Authorization] = {}
        """By what each account, by its id, is authorised here."""
        self._outbox = Outbox(core, channel)
        self._outbox.before_reply = self._interject
        self._limiter = Limiter(core.settings)
        self._opened_at = channel.last_input
        self._timers: list[TimerHandle] = []
        self._watchdog: TimerHandle | None = None
        core.add(self)
        if core.faults.disconnect_after is not None:
            self.after(core.faults.disconnect_after, lambda: self.disconnect("fault: disconnect after"))
        self._watch()

    @property
    def is_live(self) -> bool:
        """Whether this is the host of live accounts."""
        return self.environment == "live"

    def hears(self, account_id: int) -> bool:
        """Whether the account is authorised here."""
        return account_id in self.authorized

    # --- from the channel ---

    def frame_received(self, frame: bytes) -> None:
        """Answer what has arrived."""
        try:
            envelope = decode_envelope(frame)
        except WireError as error:
            self._refuse(None, Refusal("INVALID_REQUEST", f"Malformed message: {error}", close="malformed message"))
            return
        self.core.state.requests[registry.name_of(envelope.payload_type)] += 1
        if envelope.payload_type == _HEARTBEAT or selects(self.core.faults.unanswered_requests, envelope.payload_type):
            return
        is_order = envelope.payload_type in _ORDERS
        if is_order and self.core.faults.orders_unanswered == "dropped":
            return
        try:
            self._admit(envelope.payload_type)
            request = self._parse(envelope)
            self.core.state.log.append(Asked(type(request).__name__, self.core.clock.monotonic(), request))
            self._check_account(request)
            if is_order:
                self._trade(envelope, request)
            else:
                self._answer(envelope, handler_of(type(request))(self, request))
        except Refusal as refusal:
            if not (is_order and self.core.faults.orders_unanswered):
                self._refuse(envelope, refusal)

    def frame_too_long(self, text: str) -> None:
        """Say so, and close: what follows in the stream cannot be told apart any more."""
        self._refuse(None, Refusal("FRAME_TOO_LONG", f"The message is too long: {text}", close="frame too long"))

    def closed(self, cause: str) -> None:
        """The socket is gone."""
        for timer in [*self._timers, *([self._watchdog] if self._watchdog else [])]:
            timer.cancel()
        self._outbox.close()
        self.authorized.clear()
        self.core.remove(self, cause)

    # --- to the client ---

    def send_event(self, message: Message, message_id: str | None = None) -> None:
        """Send what nobody asked for, or what goes on answering a request, which gives its id."""
        self._outbox.event(message, message_id)

    def authorize(self, account: Account, grant: Grant) -> None:
        """The account may be used here from now on."""
        self.authorized[account.id] = Authorization(grant.access_token, grant.scope)
        if self.core.faults.account_disconnect_after is not None:
            self.after(self.core.faults.account_disconnect_after, lambda: self.disconnect_account(account.id))

    def forget_account(self, account_id: int, *, keep_subscriptions: bool = False) -> bool:
        """The account may not be used here any more; False when it was not anyway."""
        if not keep_subscriptions:
            self.core.feed.drop(self, account_id)
        return self.authorized.pop(account_id, None) is not None

    def disconnect_account(self, account_id: int) -> None:
        """End the session of one account by an event; the connection stays (section 5.5)."""
        if self.forget_account(account_id):
            self.send_event(pb.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account_id))

    def disconnect(self, reason: str) -> None:
        """Say that the whole connection ends, and end it."""
        self.send_event(pb.ProtoOAClientDisconnectEvent(reason=reason))
        self._outbox.then(lambda: self.channel.close("disconnected by the server"))

    def token_died(self, death: Invalidation) -> None:
        """End the sessions that this access token opened: one event for all of them, then one for each (section 5.4)."""
        hit = [account_id for account_id, held in self.authorized.items() if held.access_token == death.access_token]
        if not hit:
            return
        for account_id in hit:
            self.forget_account(account_id, keep_subscriptions=self.core.settings.keep_subscriptions_on_refresh)
        self.send_event(pb.ProtoOAAccountsTokenInvalidatedEvent(ctidTraderAccountIds=hit, reason=death.reason))
        for account_id in hit:
            self.send_event(pb.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account_id))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something later on the sandbox's clock, unless the connection is gone by then."""
        self._timers.append(self.core.clock.call_at(self.core.clock.monotonic() + seconds, action))

    # --- requests ---

    def _admit(self, payload_type: int) -> None:
        now = self.core.clock.monotonic()
        self._limiter.admit(payload_type, now)
        faults = self.core.faults
        if selects(faults.blocked_payload_types, payload_type):
            raise Refusal("BLOCKED_PAYLOAD_TYPE", "The payload type is rate limited", retry_after=self.core.settings.retry_after)
        if faults.maintenance_until is not None and faults.under_maintenance():
            end = self.core.clock.wall() + faults.maintenance_until - now
            raise Refusal("SERVER_IS_UNDER_MAINTENANCE", "Server is under maintenance", maintenance_end=round(end))
        allowed = {_APPLICATION_AUTH, _VERSION, *((_REFRESH,) if self.core.settings.refresh_before_authentication else ())}
        if self.application is None and payload_type not in allowed:
            raise Refusal("CH_CLIENT_NOT_AUTHENTICATED", "Client is not authenticated")

    def _parse(self, envelope: Envelope) -> Message:
        cls = registry.class_for(envelope.payload_type)
        unsupported = selects(self.core.faults.unsupported_requests, envelope.payload_type)
        if cls is None or registry.reply_for(cls) is None or unsupported:
            raise Refusal("UNSUPPORTED_MESSAGE", f"Unsupported payload type {envelope.payload_type}")
        request = cls()
        try:
            request.ParseFromString(envelope.payload or b"")
        except DecodeError as error:
            raise Refusal("INVALID_REQUEST", f"The payload is no {cls.__name__}") from error
        if not request.IsInitialized():
            raise Refusal("INVALID_REQUEST", f"The payload of {cls.__name__} lacks a required field")
        return request

    def _check_account(self, request: Message) -> None:
        if not registry.is_account_bound(type(request)):
            return
        account_id: int = request.ctidTraderAccountId  # type: ignore[attr-defined]  # every account-bound class has it
        if self.core.faults.cant_route:
            raise Refusal("CANT_ROUTE_REQUEST", "Cannot route request", account_id=account_id)
        if not self.hears(account_id) and not isinstance(request, pb.ProtoOAAccountAuthReq):
            raise Refusal(self.core.settings.unauthorized_account_code, NOT_AUTHORIZED, account_id=account_id)

    def _answer(self, envelope: Envelope, answer: Answer) -> None:
        for message in answer.before:
            self._outbox.event(message)
        self._outbox.reply(envelope, answer.reply)
        for message in answer.after:
            self._outbox.event(message)
        if answer.then is not None:
            self._outbox.then(answer.then)

    def _trade(self, envelope: Envelope, request: Message) -> None:
        account_id: int = request.ctidTraderAccountId  # type: ignore[attr-defined]  # every order request has it
        if self.authorized[account_id].scope == "accounts":
            raise Refusal(self.core.settings.view_scope_code, "The access token does not allow trading", account_id=account_id)
        cause = Cause(self, envelope.message_id, is_muted=self.core.faults.orders_unanswered == "executed")
        account = self.core.state.accounts[account_id]
        self.core.desk.submit(account, request, cause, lambda first: self._outbox.reply(envelope, first))

    def _refuse(self, envelope: Envelope | None, refusal: Refusal) -> None:
        self._outbox.refuse(envelope, refusal)
        if refusal.close:
            self._outbox.then(lambda: self.channel.close(refusal.close))

    def _interject(self) -> None:
        self.send_event(pb.ProtoHeartbeatEvent())
        for account_id in self.authorized:
            trader = market.trader(self.core.state.accounts[account_id])
            self.send_event(pb.ProtoOATraderUpdatedEvent(ctidTraderAccountId=account_id, trader=trader))

    # --- silence ---

    def _watch(self) -> None:
        """Look at the clock when the earliest of the three limits could be reached. All of them only ever move away."""
        due, now = min(self._limits()), self.core.clock.monotonic()
        if due <= now:  # a half-open connection closes nothing
            due = now + _LOOK_AGAIN
        self._watchdog = self.core.clock.call_at(due, self._look)

    def _limits(self) -> tuple[float, float, float]:
        settings = self.core.settings
        unauthenticated = self._opened_at + settings.authentication_timeout if self.application is None else float("inf")
        return (
            self.channel.last_output + settings.heartbeat_after,
            self.channel.last_input + settings.idle_timeout,
            unauthenticated,
        )

    def _look(self) -> None:
        now = self.core.clock.monotonic()
        heartbeat, idle, unauthenticated = self._limits()
        if now >= unauthenticated:
            self.channel.close("not authenticated in time")
        elif now >= idle:
            self.channel.close("idle")
        elif now >= heartbeat:
            self.channel.last_output = now  # also when the fault keeps it back: the next one is due a whole span later
            if not self.core.faults.no_heartbeats:
                self.send_event(pb.ProtoHeartbeatEvent())
        if self.channel.is_open:
            self._watch()
