"""ctrader-api-client, an asyncio client by somebody else. Plaintext is a setting of its own."""

import asyncio

from ctrader_api_client import ClientConfig, CTraderClient
from ctrader_api_client._internal.proto import ProtoOAVersionReq
from ctrader_api_client.events import SpotEvent

from bench.loops import Countdown, round_trips, run_program, serve


async def run(facts):
    """Connect, and do as told."""
    countdown = Countdown()
    config = ClientConfig(
        host="127.0.0.1",
        port=facts["port"],
        use_ssl=False,
        client_id="bench",
        client_secret="bench",
        request_timeout=60,
        heartbeat_timeout=1e6,
    )
    client = CTraderClient(config)

    async def on_spot(_event):
        countdown.one()

    client.on(SpotEvent)(on_spot)
    async with client:
        await asyncio.sleep(0)
        await serve({"events": countdown.measure, "requests": round_trips(lambda: client.protocol.send_request(ProtoOAVersionReq()))})


run_program(run)
