"""pysignalr, unchanged, against a hub: a call, a push and a stream.

It fetches no bearer before its first connection, so it is given a header.
"""

import asyncio
import os
import ssl

from pysignalr.client import SignalRClient
from steps import facts, report, report_installed

DEADLINE = 20
"""Seconds for everything together."""
ITEMS = 3


async def watch(given):
    """Report what comes, until everything has come."""
    headers = {"Authorization": f"Bearer {given['token']}"}
    client = SignalRClient(given["url"], headers=headers, ssl=ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE")))
    results, items, done = asyncio.Queue(), [], asyncio.Event()

    async def greeted(arguments):
        report("status", arguments=arguments)

    async def answered(message):
        await results.put(message.result)

    async def streamed(item):
        items.append(item)

    async def completed(message):
        done.set()

    async def opened():
        await client.send("Echo", ["hello"], answered)
        await client.stream("Count", [ITEMS, 0, -1], on_next=streamed, on_complete=completed)

    client.on("OnConnectionStatus", greeted)
    client.on_open(opened)
    running = asyncio.create_task(client.run())
    report("echo", result=await results.get())
    await done.wait()
    report("stream", items=items)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def main():
    given = facts()
    report_installed("pysignalr")
    asyncio.run(asyncio.wait_for(watch(given), DEADLINE))


main()
