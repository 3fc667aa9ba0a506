"""A cTrader server made of other people's parts: Twisted's framing and TLS, and the official SDK's own message classes.

It is correct and as awkward as a correct server may be. It fills one optional field of each listed account and no more, puts events and
messages of unknown types between a request and its answer, gives some events the id of another client's request, answers what came in
together in the opposite order, writes the inner payloadType in every second answer, cuts its output into pieces, and knows few messages.

Facts: certificate, key, client_id, client_secret, access_token. It reports where it listens and every request it could read, and ends
when its stdin does.
"""

import itertools
import random
import sys
import time

from ctrader_open_api import Protobuf
from ctrader_open_api.messages import OpenApiMessages_pb2 as pb
from ctrader_open_api.messages.OpenApiCommonMessages_pb2 import ProtoHeartbeatEvent, ProtoMessage
from steps import facts, report
from twisted.internet import reactor, ssl, stdio
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import Int32StringReceiver

TOGETHER = 0.05
"""Seconds in which requests count as having come in together."""

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
        self.authenticated = False
        self.answers = itertools.count()

    def connectionLost(self, reason):
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
            try:
                answer, events = self.answer(request)
            except Refused as refusal:
                answer, events = pb.ProtoOAErrorRes(errorCode=refusal.args[0], description=refusal.args[1]), []
            if next(self.answers) % 2:
                answer.payloadType = answer.payloadType  # explicitly: now it travels
            frames += [frame(answer, message_id), *(frame(event) for event in events)]
        self.send_in_pieces(b"".join(len(one).to_bytes(4, "big") + one for one in frames))

    def send_in_pieces(self, data):
        """One write for each piece, and so one TLS record: what arrives together is not what was sent together."""
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
        self.accounts.add(request.ctidTraderAccountId)
        return pb.ProtoOAAccountAuthRes(ctidTraderAccountId=request.ctidTraderAccountId)

    def on_SymbolsListReq(self, request):
        symbols = [{"symbolId": number, "symbolName": name} for number, (name, _) in SYMBOLS.items()]
        return pb.ProtoOASymbolsListRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=symbols)

    def on_SymbolByIdReq(self, request):
        symbols = [{"symbolId": number, "digits": SYMBOLS[number][1], "pipPosition": 1} for number in request.symbolId]
        return pb.ProtoOASymbolByIdRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=symbols)

    def on_SubscribeSpotsReq(self, request):
        """The last price with both sides, then one side at a time."""
        events = []
        for number in request.symbolId:
            bid, ask = LAST_PRICES[number]
            common = {"ctidTraderAccountId": request.ctidTraderAccountId, "symbolId": number}
            if request.subscribeToSpotTimestamp:
                common["timestamp"] = int(time.time() * 1000)
            events += [pb.ProtoOASpotEvent(**common, **sides) for sides in ({"bid": bid, "ask": ask}, {"ask": ask + 2}, {"bid": bid + 1})]
        return pb.ProtoOASubscribeSpotsRes(ctidTraderAccountId=request.ctidTraderAccountId), events

    def on_UnsubscribeSpotsReq(self, request):
        return pb.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=request.ctidTraderAccountId)


def frame(message, message_id=None):
    """The envelope's bytes, by the SDK's classes."""
    return ProtoMessage(payloadType=message.payloadType, payload=message.SerializeToString(), clientMsgId=message_id).SerializeToString()


def check_token(request):
    if request.accessToken != GIVEN["access_token"]:
        raise Refused("CH_ACCESS_TOKEN_INVALID", "Access token is invalid")


class UntilTheEnd(Protocol):
    """Ends this program when its stdin ends."""

    def connectionLost(self, reason):
        reactor.stop()


def main():
    context = ssl.DefaultOpenSSLContextFactory(GIVEN["key"], GIVEN["certificate"])
    port = reactor.listenSSL(0, Factory.forProtocol(OpenApiServer), context, interface="127.0.0.1")
    stdio.StandardIO(UntilTheEnd())
    report("listening", port=port.getHost().port)
    reactor.run()
    sys.stdout.flush()


GIVEN = facts()
main()
