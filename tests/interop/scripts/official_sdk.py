"""The official Python SDK on its way to an authorised account: ctrader-open-api, on Twisted, as it comes from the package index.

It counts as unmodified: nothing of it is patched, subclassed or replaced. Host and port are arguments of its `Client`, as for its users;
sending, framing, correlation and decoding are its own. It makes the endpoint "ssl:HOST:PORT" of them, for which Twisted verifies no
certificate at all. Twisted's own words for an endpoint that verifies may follow the port, `5035:hostname=NAME:caCertsDir=DIRECTORY`:
that is how the test makes it careful, still with nothing but the SDK's arguments.

The SDK looks into its send queue once a second, so each step that waits for the one before takes a second.
"""

import sys

from ctrader_open_api import Client, Protobuf, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import (
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOAGetAccountListByAccessTokenReq,
    ProtoOARefreshTokenReq,
    ProtoOASubscribeSpotsReq,
    ProtoOASymbolsListReq,
)
from steps import facts, report, report_installed
from twisted.internet import defer, reactor

QUOTES = 3
"""Spot events that make a subscription count as alive: more than the one that repeats the last price."""
DEADLINE = 20
"""Seconds for one answer, and for the quotes of one subscription."""


class Inbox:
    """What comes in, by name, and who waits for it."""

    def __init__(self):
        self.spots = []
        self.waiting = None

    def received(self, _client, message):
        """Every message of the connection, answers too, as the SDK hands it to its users."""
        name = Protobuf.get(message.payloadType).DESCRIPTOR.name
        if name == "ProtoOASpotEvent":
            self.spots.append(Protobuf.extract(message))
            if self.waiting is not None and len(self.spots) == QUOTES:
                self.waiting.callback(None)
        elif name.endswith("Event") and name != "ProtoHeartbeatEvent":
            event = Protobuf.extract(message)
            report("event", name=name, id=message.clientMsgId, text=str(event))

    @defer.inlineCallbacks
    def quotes(self, step):
        """Report the next spot events."""
        self.spots.clear()
        self.waiting = defer.Deferred().addTimeout(DEADLINE, reactor)
        yield self.waiting
        self.waiting = None
        report(step, quotes=[describe(spot) for spot in self.spots[:QUOTES]])


def describe(spot):
    """A spot event with what it really carries."""
    fields = ("ctidTraderAccountId", "symbolId", "bid", "ask", "timestamp")
    return {name: getattr(spot, name) for name in fields if spot.HasField(name)}


@defer.inlineCallbacks
def ask(client, request):
    """Send and wait; the answer's name, and the answer."""
    message = yield client.send(request, responseTimeoutInSeconds=DEADLINE)
    answer = Protobuf.extract(message)
    return answer.DESCRIPTOR.name, answer


def subscription(account_id, symbol_id):
    request = ProtoOASubscribeSpotsReq(ctidTraderAccountId=account_id, subscribeToSpotTimestamp=True)
    request.symbolId.append(symbol_id)
    return request


@defer.inlineCallbacks
def walk(client, inbox, given):
    """From an open connection to a quote, and again after a refresh."""
    old, refresh_token = given["access_token"], given["refresh_token"]
    name, _ = yield ask(client, ProtoOAApplicationAuthReq(clientId=given["client_id"], clientSecret=given["client_secret"]))
    report("application_auth", answer=name)
    if given.get("enough"):
        return

    name, listed = yield ask(client, ProtoOAGetAccountListByAccessTokenReq(accessToken=old))
    accounts = [{"id": one.ctidTraderAccountId, "live": one.isLive, "login": one.traderLogin} for one in listed.ctidTraderAccount]
    report("account_list", answer=name, accounts=accounts, scope=listed.permissionScope, echoed=listed.accessToken == old)
    account_id = next(one["id"] for one in accounts if one["live"] == (given["environment"] == "live"))

    authorised = ask(client, ProtoOAAccountAuthReq(ctidTraderAccountId=account_id, accessToken=old))
    symbols = ask(client, ProtoOASymbolsListReq(ctidTraderAccountId=account_id))
    name, answer = yield authorised
    report("account_auth", answer=name, account=answer.ctidTraderAccountId)
    name, listed = yield symbols
    symbol_id = next(symbol.symbolId for symbol in listed.symbol if symbol.symbolName == "EURUSD")
    report("symbols", answer=name, count=len(listed.symbol), eurusd=symbol_id)

    quotes = inbox.quotes("quotes")
    name, _ = yield ask(client, subscription(account_id, symbol_id))
    report("spots", answer=name)
    yield quotes

    name, pair = yield ask(client, ProtoOARefreshTokenReq(refreshToken=refresh_token))
    report("refresh", answer=name, type=pair.tokenType, expires_in=pair.expiresIn)

    # All at once: the SDK sends them in this order, in one second.
    steps = {
        "old_access_token": ProtoOAGetAccountListByAccessTokenReq(accessToken=old),
        "old_refresh_token": ProtoOARefreshTokenReq(refreshToken=refresh_token),
        "account_auth_again": ProtoOAAccountAuthReq(ctidTraderAccountId=account_id, accessToken=pair.accessToken),
        "new_access_token": ProtoOAGetAccountListByAccessTokenReq(accessToken=pair.accessToken),
    }
    asked = {step: ask(client, request) for step, request in steps.items()}
    for step, answering in asked.items():
        name, answer = yield answering
        report(step, answer=name, error=getattr(answer, "errorCode", None))

    quotes = inbox.quotes("quotes_again")
    name, _ = yield ask(client, subscription(account_id, symbol_id))
    report("spots_again", answer=name)
    yield quotes


def main():
    report_installed("ctrader-open-api")
    given = facts()
    inbox = Inbox()
    client = Client(given["host"], given["port"], TcpProtocol)
    walking = []

    def connected(_client):
        if not walking:
            walking.append(walk(client, inbox, given))
            walking[0].addCallbacks(lambda _: leave(0), fail)

    def fail(failure):
        failure.printTraceback(sys.stderr)
        leave(1)

    def disconnected(_client, reason):
        report("disconnected", cause=repr(reason.value))
        leave(0)

    def leave(status):
        client.setDisconnectedCallback(lambda _client, _reason: None)
        codes.append(status)
        reactor.stop()

    codes = []
    client.setConnectedCallback(connected)
    client.setDisconnectedCallback(disconnected)
    client.setMessageReceivedCallback(inbox.received)
    client.startService()
    reactor.run()
    raise SystemExit(codes[0])


main()
