"""The official Python SDK: its Client and its TcpProtocol, on Twisted. For Pythons from 3.8 on.

Its Client makes a TLS endpoint of host and port, and has no other; here that endpoint is replaced by a plain one. Nothing else is touched.
Its send queue is looked into once a second; requests go past it.
"""

import sys
import threading
from time import perf_counter, process_time

import ctrader_open_api.client
from ctrader_open_api import Client, Protobuf, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import ProtoOAVersionReq
from google.protobuf.internal import api_implementation
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint

from bench.lines import answer, read_command


class Subject:
    """A connected client, and what it has been told to do."""

    def __init__(self, client):
        self._client = client
        self._protocol = None
        self._left = 0
        self._started = 0.0
        self._answered = None

    def connected(self, _client):
        client_is_ready = self._client.whenConnected()
        client_is_ready.addCallback(self._begin)

    def _begin(self, protocol):
        self._protocol = protocol
        answer(protobuf=api_implementation.Type(), python="{}.{}".format(*sys.version_info))
        threading.Thread(target=self._commands, daemon=True).start()

    def _commands(self):
        while True:
            command = read_command()
            if command is None:
                reactor.callFromThread(reactor.stop)
                return
            reactor.callFromThread(getattr(self, command["do"]), command)

    def received(self, _client, message):
        """Every message, as the SDK hands it to its users, who decode it with the SDK's own helper."""
        if self._answered is not None:
            self._answered(message)
            return
        Protobuf.extract(message)
        self._left -= 1
        if not self._left:
            answer(cpu=process_time() - self._started)

    def events(self, command):
        self._left = command["count"]
        answer()
        self._started = process_time()

    def requests(self, command):
        """Through `TcpProtocol.send`, past the queue; each answer sends the next."""
        wall, cpu = perf_counter(), process_time()
        left = [command["count"], command["count"]]  # to send, to come

        def send():
            left[0] -= 1
            self._protocol.send(ProtoOAVersionReq(), instant=True, clientMsgId=str(left[0]))

        def answered(message):
            Protobuf.extract(message)
            left[1] -= 1
            if left[0]:
                send()
            elif not left[1]:
                self._answered = None
                answer(seconds=perf_counter() - wall, cpu=process_time() - cpu)

        self._answered = answered
        for _ in range(command["in_flight"]):
            send()


def main():
    facts = read_command()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", facts["port"])
    ctrader_open_api.client.clientFromString = lambda *_: endpoint
    client = Client("127.0.0.1", facts["port"], TcpProtocol)
    subject = Subject(client)
    client.setConnectedCallback(subject.connected)
    client.setMessageReceivedCallback(subject.received)
    client.startService()
    reactor.run()


main()
