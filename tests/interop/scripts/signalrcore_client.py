"""signalrcore, unchanged, against a hub: a call, a push and a stream.

Its callbacks run in threads of its own, and get the list of the arguments. It returns from `start` before the handshake, so a call waits
for the greeting; what a stream brings before its callback is attached is lost, so the stream is one that goes on.
"""

import os
import queue

from signalrcore.hub_connection_builder import HubConnectionBuilder
from steps import facts, report, report_installed

DEADLINE = 20
"""Seconds for everything between two steps."""


def main():
    given = facts()
    report_installed("signalrcore")
    options = {"access_token_factory": lambda: given["token"], "skip_negotiation": given["skip"]}
    hub = HubConnectionBuilder().with_url(given["url"], options=options).build()
    arrived = {name: queue.Queue() for name in ("status", "echo", "stream")}
    hub.on("OnConnectionStatus", arrived["status"].put)
    hub.start()
    report("status", arguments=arrived["status"].get(timeout=DEADLINE))
    hub.send("Echo", ["hello"], arrived["echo"].put)
    report("echo", result=arrived["echo"].get(timeout=DEADLINE).result)
    hub.stream("StreamTicks", ["EURUSD"]).subscribe({"next": arrived["stream"].put, "error": print, "complete": lambda *_: None})
    report("stream", items=[arrived["stream"].get(timeout=DEADLINE) for _ in range(3)])
    os._exit(0)  # its own `stop` takes fifteen seconds


main()
