"""CPlugin's own Python SDK, unchanged: token, REST, and the MT4 hub through signalrcore.

Trust comes from the environment: OpenSSL reads the authorities from the file that SSL_CERT_FILE names. With `"realtime": false` the hub is
left out. The hub's callbacks run in threads of signalrcore, and get the list of the arguments.
"""

import os
import queue

from cplugin_webapi_sdk import CPluginWebApiClient
from cplugin_webapi_sdk._generated.api.mt4_v_2_trades import post_api_v_2_mt4_trade_platform_trade_transaction as transaction
from cplugin_webapi_sdk._generated.models.mt4_trade_transaction import MT4TradeTransaction
from cplugin_webapi_sdk.errors import ApiError
from cplugin_webapi_sdk.unwrap import unwrap
from steps import facts, report, report_installed

DEADLINE = 20
"""Seconds for everything between two steps."""


def rest(client, given):
    platform = given["platforms"]["mt4"]
    report("platforms", platforms=[{"id": one["id"], "type": one["type"]} for one in client.list_trade_platforms()])
    report("times", mt4=client.mt4.get_server_time(platform), mt5=client.mt5.get_server_time(given["platforms"]["mt5"]))
    pages = client.paged(lambda cursor: client.mt4.users_request(platform, cursor=cursor, limit=10))
    report("users", logins=[user["login"] for page in pages for user in page])
    order = MT4TradeTransaction(symbol="EURUSD", volume=1)
    done = [unwrap(client.mt4.raw(transaction, trade_platform=platform, body=order, idempotency_key="one")) for _ in range(2)]
    report("trade", orders=[one["order"] for one in done])
    try:
        client.mt4.get_user_record(platform, 99999999)
    except ApiError as error:
        report("refused", code=error.code, activity=error.activity_id)


def realtime(client, given):
    arrived = {name: queue.Queue() for name in ("status", "tick", "stream")}
    hub = client.realtime.mt4(given["platforms"]["mt4"])
    hub.on_connection_status(arrived["status"].put)
    hub.on_tick(arrived["tick"].put)
    hub.start()
    first = {"status": arrived["status"].get(timeout=DEADLINE)}
    hub.subscribe_to_ticks("GBPUSD")
    first["tick"] = arrived["tick"].get(timeout=DEADLINE)
    hub.stream_ticks("EURUSD").subscribe({"next": arrived["stream"].put, "error": print, "complete": lambda *_: None})
    first["stream"] = arrived["stream"].get(timeout=DEADLINE)
    report("realtime", **first)
    os._exit(0)  # its own `stop` takes fifteen seconds


def main():
    given = facts()
    report_installed("mywebapi-sdk")
    with CPluginWebApiClient(
        env="custom",
        api_base_url=given["base_url"],
        authority=given["authority"],
        client_id=given["client_id"],
        client_secret=given["client_secret"],
    ) as client:
        rest(client, given)
        if given["realtime"]:
            realtime(client, given)


main()
