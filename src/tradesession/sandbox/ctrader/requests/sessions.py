"""Who is there: version, application, accounts, tokens. Facts: section 5."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.refusal import GrantRefused, Refusal
from tradesession.sandbox.ctrader.requests.answer import Answer, answers
from tradesession.sandbox.ctrader.state import Account

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection


@answers(pb.ProtoOAVersionReq)
def version(connection: Connection, request: pb.ProtoOAVersionReq) -> Answer:
    """Allowed to everybody."""
    return Answer(pb.ProtoOAVersionRes(version=connection.core.settings.version))


@answers(pb.ProtoOAApplicationAuthReq)
def authenticate_application(connection: Connection, request: pb.ProtoOAApplicationAuthReq) -> Answer:
    """The first step. A refused one ends the connection."""
    if connection.application is not None:
        raise Refusal("CH_CLIENT_ALREADY_AUTHENTICATED", "Client is already authenticated")
    core = connection.core
    application = core.state.applications.get(request.clientId)
    if application is None:
        raise Refusal(core.settings.unknown_client_code, "clientId or clientSecret is incorrect", close="application refused")
    if application.client_secret != request.clientSecret:
        raise Refusal("CH_CLIENT_AUTH_FAILURE", "clientId or clientSecret is incorrect", close="application refused")
    if not application.active:
        raise Refusal("CH_CLIENT_AUTH_FAILURE", "OA client is not in active state", close="application refused")
    cap = core.settings.max_connections
    if cap is not None and sum(one.application is application for one in core.connections) >= cap:
        raise Refusal("CONNECTIONS_LIMIT_EXCEEDED", f"No more than {cap} connections", close="too many connections")
    connection.application = application
    return Answer(pb.ProtoOAApplicationAuthRes())


@answers(pb.ProtoOAGetAccountListByAccessTokenReq)
def list_accounts(connection: Connection, request: pb.ProtoOAGetAccountListByAccessTokenReq) -> Answer:
    """Demo and live alike, on either host."""
    grant = connection.core.state.grant_of(request.accessToken, connection.application)
    scope = pb.ProtoOAClientPermissionScope.SCOPE_TRADE if grant.scope == "trading" else pb.ProtoOAClientPermissionScope.SCOPE_VIEW
    fields = connection.core.settings.account_fields
    return Answer(
        pb.ProtoOAGetAccountListByAccessTokenRes(
            accessToken=request.accessToken,
            permissionScope=scope,
            ctidTraderAccount=[_account_entry(account, fields) for account in grant.accounts],
        )
    )


def _account_entry(account: Account, fields: Collection[str]) -> pb.ProtoOACtidTraderAccount:
    known: dict[str, Any] = {"isLive": account.is_live, "traderLogin": account.login, "brokerTitleShort": account.broker.title}
    shown = {name: value for name, value in known.items() if name in fields}
    return pb.ProtoOACtidTraderAccount(ctidTraderAccountId=account.id, **shown)


@answers(pb.ProtoOAAccountAuthReq)
def authenticate_account(connection: Connection, request: pb.ProtoOAAccountAuthReq) -> Answer:
    """Opens one account on this connection, if this is the host of its kind."""
    core, account_id = connection.core, request.ctidTraderAccountId
    try:
        grant = core.state.grant_of(request.accessToken, connection.application)
    except Refusal as refusal:
        refusal.account_id = account_id
        raise
    account = core.state.accounts.get(account_id)
    if account is None or account not in grant.accounts:
        raise Refusal("CH_CTID_TRADER_ACCOUNT_NOT_FOUND", f"Trading account {account_id} is not found", account_id=account_id)
    if account.is_live != connection.is_live:
        raise Refusal("CANT_ROUTE_REQUEST", "Cannot route request", account_id=account_id)
    if account.refusal:
        raise Refusal(account.refusal, "Trading account is refused", account_id=account_id)
    if connection.hears(account_id):
        raise Refusal("ALREADY_LOGGED_IN", "Trading account is already authorized in this channel", account_id=account_id)
    connection.authorize(account, grant)
    core.watch_expiry(grant)
    return Answer(pb.ProtoOAAccountAuthRes(ctidTraderAccountId=account_id))


@answers(pb.ProtoOAAccountLogoutReq)
def log_out(connection: Connection, request: pb.ProtoOAAccountLogoutReq) -> Answer:
    """The session of the account really ends at the event that follows."""
    account_id = request.ctidTraderAccountId
    connection.forget_account(account_id)
    return Answer(
        pb.ProtoOAAccountLogoutRes(ctidTraderAccountId=account_id),
        after=[pb.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account_id)],
    )


@answers(pb.ProtoOARefreshTokenReq)
def refresh_token(connection: Connection, request: pb.ProtoOARefreshTokenReq) -> Answer:
    """A new pair; the old one is dead at once, and every connection that used it is told, this one included."""
    core = connection.core
    try:
        grant, death = core.state.refresh(request.refreshToken, connection.application)
    except GrantRefused as refused:
        raise Refusal("CH_ACCESS_TOKEN_INVALID", refused.description) from refused
    reply = pb.ProtoOARefreshTokenRes(
        accessToken=grant.access_token, tokenType="bearer", expiresIn=grant.expires_in, refreshToken=grant.refresh_token
    )
    if core.settings.refresh_events_first:
        core.state.announce(death)
        return Answer(reply)
    return Answer(reply, then=lambda: core.state.announce(death))


@answers(pb.ProtoOAGetCtidProfileByTokenReq)
def profile(connection: Connection, request: pb.ProtoOAGetCtidProfileByTokenReq) -> Answer:
    """The user id, and nothing else."""
    grant = connection.core.state.grant_of(request.accessToken, connection.application)
    return Answer(pb.ProtoOAGetCtidProfileByTokenRes(profile=pb.ProtoOACtidProfile(userId=grant.ctid.user_id)))
