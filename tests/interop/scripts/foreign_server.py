"""A cTrader server made of other people's parts: Twisted's framing and TLS, and the official SDK's own message classes.

It is correct and as awkward as a correct server may be. It fills one optional field of each listed account and no more, puts events and
messages of unknown types between a request and its answer, gives some events the id of another client's request, answers what came in
together in the opposite order, writes the inner payloadType in every second answer, cuts its output into pieces, and knows few messages.

Facts: certificate, key, client_id, client_secret, access_token, refresh_token; `events_first`, whether the events of a refresh come before
its answer, on the socket or by HTTP; `sessions_stay`, whether a refresh ends the sessions of accounts, or only says so (both were told of
the real server). It reports where it listens and every request it could read, and ends when its stdin does.
"""

import itertools
import json
import random
import sys
import time

from ctrader_open_api import Protobuf
from ctrader_open_api.messages import OpenApiMessages_pb2 as pb
from ctrader_open_api.messages.OpenApiCommonMessages_pb2 import ProtoHeartbeatEvent, ProtoMessage
from steps import facts, report
from twisted.internet import reactor, ssl, stdio, task
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import Int32StringReceiver
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

TOGETHER = 0.05
"""Seconds in which requests count as having come in together."""
BEAT = 0.05
"""Seconds between two prices of a symbol."""

ACCOUNTS = [
    {"ctidTraderAccountId": 11, "isLive": False},
    {"ctidTraderAccountId": 12, "traderLogin": 7000012},
    {"ctidTraderAccountId": 13},
    {"ctidTraderAccountId": 14, "isLive": True},
    {"ctidTraderAccountId": 15, "lastBalanceUpdateTimestamp": 1700000000000},
]
ELSEWHERE = {13, 14}
"""Live accounts; of the first one the list does not tell."""
SYMBOLS = {1: ("EURUSD", 5), 2: ("USDJPY", 3)}
SPREAD = 3
LIFETIME = 2_628_000
CONNECTIONS = []
LAST_PRICES = {1: (108512, 108515), 2: (15_432_100, 15_432_500)}


class Refused(Exception):
    """An error reply: its code, and what it says."""


class OpenApiServer(Int32StringReceiver):
    """One connection."""

    MAX_LENGTH = 15_000_000

    def connectionMade(self):
        self.waiting = []
        self.ids = set()
        self.accounts = set()
        self.spots = {}
        self.authenticated = False
        self.answers = itertools.count()
        self.beat = task.LoopingCall(self.tick)
        self.beat.start(BEAT, now=False)
        CONNECTIONS.append(self)

    def connectionLost(self, reason):
        self.beat.stop()
        CONNECTIONS.remove(self)
        report("lost", cause=reason.type.__name__)

    def lengthLimitExceeded(self, length):
        report("too_long", length=length)
        self.transport.loseConnection()

    # --- in ---

    def stringReceived(self, string):
        envelope = ProtoMessage.FromString(string)
        request = Protobuf.extract(envelope)
        name = request.DESCRIPTOR.name
        fresh = envelope.clientMsgId not in self.ids
        self.ids.add(envelope.clientMsgId)
        report("received", name=name, has_id=envelope.HasField("clientMsgId"), fresh=fresh, complete=request.IsInitialized())
        if name == "ProtoHeartbeatEvent":
            return
        if not self.waiting:
            reactor.callLater(TOGETHER, self.answer_all)
        self.waiting.append((envelope.clientMsgId, request))

    # --- out ---

    def answer_all(self):
        waiting, self.waiting = self.waiting[::-1], []
        if not self.connected:
            return
        frames = []
        for message_id, request in waiting:
            frames += self.noise()
            before = []
            try:
                answer, after = self.answer(request)
            except Refused as refusal:
                answer, after = pb.ProtoOAErrorRes(errorCode=refusal.args[0], description=refusal.args[1]), []
            if isinstance(request, pb.ProtoOARefreshTokenReq) and GIVEN["events_first"]:
                before, after = after, before
            if next(self.answers) % 2:
                answer.payloadType = answer.payloadType  # explicitly: now it travels
            frames += [*map(frame, before), frame(answer, message_id), *map(frame, after)]
        self.send_in_pieces(frames)

    def send_in_pieces(self, frames):
        """One write for each piece, and so one TLS record: what arrives together is not what was sent together."""
        data = b"".join(len(one).to_bytes(4, "big") + one for one in frames)
        dice = random.Random(len(data))
        while data:
            size = dice.choice((1, 2, 3, 5, 64, 500))
            self.transport.write(data[:size])
            data = data[size:]

    def noise(self):
        """What may come at any time."""
        stranger = pb.ProtoOAExecutionEvent(ctidTraderAccountId=11, executionType="ORDER_ACCEPTED")
        return [
            frame(ProtoHeartbeatEvent()),
            frame(pb.ProtoOASpotEvent(ctidTraderAccountId=99, symbolId=77, bid=1)),
            frame(stranger, "another client's request"),
            frame(pb.ProtoOAVersionRes(version="nobody asked"), "another client's request"),
            ProtoMessage(payloadType=6001, payload=b"\x08\x01").SerializeToString(),
        ]

    def tick(self):
        """Each price one step up, bid and ask in turn once they are close."""
        for (account_id, symbol_id), prices in self.spots.items():
            side = "bid" if prices["ask"] - prices["bid"] > SPREAD else "ask"
            prices[side] += 1
            if account_id in self.accounts:
                self.sendString(frame(pb.ProtoOASpotEvent(ctidTraderAccountId=account_id, symbolId=symbol_id, **{side: prices[side]})))

    # --- what it knows ---

    def answer(self, request):
        known = getattr(self, f"on_{request.DESCRIPTOR.name.removeprefix('ProtoOA')}", None)
        if known is None:
            raise Refused("UNSUPPORTED_MESSAGE", f"{request.DESCRIPTOR.name} is not known here")
        if not self.authenticated and not isinstance(request, pb.ProtoOAApplicationAuthReq):
            raise Refused("CH_CLIENT_NOT_AUTHENTICATED", "Client is not authenticated")
        account_id = getattr(request, "ctidTraderAccountId", None)
        if account_id is not None and account_id not in self.accounts and not isinstance(request, pb.ProtoOAAccountAuthReq):
            raise Refused("INVALID_REQUEST", "Trading account is not authorized")
        answered = known(request)
        return answered if isinstance(answered, tuple) else (answered, [])

    def on_ApplicationAuthReq(self, request):
        if (request.clientId, request.clientSecret) != (GIVEN["client_id"], GIVEN["client_secret"]):
            raise Refused("CH_CLIENT_AUTH_FAILURE", "clientId or clientSecret is incorrect")
        self.authenticated = True
        return pb.ProtoOAApplicationAuthRes()

    def on_GetAccountListByAccessTokenReq(self, request):
        check_token(request)
        return pb.ProtoOAGetAccountListByAccessTokenRes(accessToken=request.accessToken, ctidTraderAccount=ACCOUNTS)

    def on_AccountAuthReq(self, request):
        check_token(request)
        if request.ctidTraderAccountId in ELSEWHERE:
            raise Refused("CANT_ROUTE_REQUEST", "Cannot route request")
        if request.ctidTraderAccountId in self.accounts:
            raise Refused("ALREADY_LOGGED_IN", "Trading account is already authorized in this channel")
        self.accounts.add(request.ctidTraderAccountId)
        return pb.ProtoOAAccountAuthRes(ctidTraderAccountId=request.ctidTraderAccountId)

    def on_RefreshTokenReq(self, request):
        exchange(request.refreshToken)
        pair = {"accessToken": GIVEN["access_token"], "refreshToken": GIVEN["refresh_token"]}
        return pb.ProtoOARefreshTokenRes(tokenType="bearer", expiresIn=LIFETIME, **pair), self.token_died()

    def token_died(self):
        """The token that accounts were authorised with is dead: what this connection is told."""
        told = sorted(self.accounts)
        if not GIVEN["sessions_stay"]:
            self.accounts.clear()
            self.spots.clear()
        return [
            *([pb.ProtoOAAccountsTokenInvalidatedEvent(ctidTraderAccountIds=told, reason="refreshed")] if told else []),
            *(pb.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account_id) for account_id in told),
        ]

    def on_SymbolsListReq(self, request):
        symbols = [{"symbolId": number, "symbolName": name} for number, (name, _) in SYMBOLS.items()]
        return pb.ProtoOASymbolsListRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=symbols)

    def on_SymbolByIdReq(self, request):
        symbols = [{"symbolId": number, "digits": SYMBOLS[number][1], "pipPosition": 1} for number in request.symbolId]
        return pb.ProtoOASymbolByIdRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=symbols)

    def on_SubscribeSpotsReq(self, request):
        """The last price with both sides, then one side at a time."""
        account_id = request.ctidTraderAccountId
        if any((account_id, number) in self.spots for number in request.symbolId):
            raise Refused("ALREADY_SUBSCRIBED", "Already subscribed")
        events = []
        for number in request.symbolId:
            bid, ask = LAST_PRICES[number]
            common = {"ctidTraderAccountId": account_id, "symbolId": number}
            if request.subscribeToSpotTimestamp:
                common["timestamp"] = int(time.time() * 1000)
            events += [pb.ProtoOASpotEvent(**common, **sides) for sides in ({"bid": bid, "ask": ask}, {"ask": ask + 2}, {"bid": bid + 1})]
            self.spots[account_id, number] = {"bid": bid + 1, "ask": ask + 2}
        return pb.ProtoOASubscribeSpotsRes(ctidTraderAccountId=account_id), events

    def on_UnsubscribeSpotsReq(self, request):
        for number in request.symbolId:
            self.spots.pop((request.ctidTraderAccountId, number), None)
        return pb.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=request.ctidTraderAccountId)


def frame(message, message_id=None):
    """The envelope's bytes, by the SDK's classes."""
    return ProtoMessage(payloadType=message.payloadType, payload=message.SerializeToString(), clientMsgId=message_id).SerializeToString()


def check_token(request):
    if request.accessToken != GIVEN["access_token"]:
        raise Refused("CH_ACCESS_TOKEN_INVALID", "Access token is invalid")


def exchange(refresh_token):
    """Another pair, once."""
    if refresh_token != GIVEN["refresh_token"]:
        raise Refused("CH_ACCESS_TOKEN_INVALID", "Refresh token is invalid")
    GIVEN["access_token"] += "+"
    GIVEN["refresh_token"] += "+"
    report("exchanged")


class TokenEndpoint(Resource):
    """The other way to refresh, and what the socket hears of it: before the answer or after it."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, request):
        exchange(request.args[b"refresh_token"][0].decode())
        pair = {"accessToken": GIVEN["access_token"], "refreshToken": GIVEN["refresh_token"]}
        answer = json.dumps({**pair, "tokenType": "bearer", "expiresIn": LIFETIME, "errorCode": None}).encode()
        request.setHeader("Content-Type", "application/json")
        if GIVEN["events_first"]:
            self.tell()
            reactor.callLater(TOGETHER, self.finish, request, answer)
        else:
            reactor.callLater(TOGETHER, self.tell)
            self.finish(request, answer)
        return NOT_DONE_YET

    def tell(self):
        for connection in CONNECTIONS:
            connection.send_in_pieces([frame(event) for event in connection.token_died()])

    def finish(self, request, answer):
        request.write(answer)
        request.finish()


class UntilTheEnd(Protocol):
    """Ends this program when its stdin ends."""

    def connectionLost(self, reason):
        reactor.stop()


def main():
    context = ssl.DefaultOpenSSLContextFactory(GIVEN["key"], GIVEN["certificate"])
    port = reactor.listenSSL(0, Factory.forProtocol(OpenApiServer), context, interface="127.0.0.1")
    pages = reactor.listenTCP(0, Site(TokenEndpoint()), interface="127.0.0.1")
    stdio.StandardIO(UntilTheEnd())
    report("listening", port=port.getHost().port, token_url=f"http://127.0.0.1:{pages.getHost().port}/apps/token")
    reactor.run()
    sys.stdout.flush()


GIVEN = facts()
main()
