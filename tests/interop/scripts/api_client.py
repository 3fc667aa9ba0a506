"""ctrader-api-client from an open connection to quotes, through a refresh, a cut line and a dropped account.

It counts as unmodified: nothing of it is patched, subclassed or replaced. Host, port, intervals and the token store are its own
parameters. Trust comes from the environment: it connects with Python's default TLS context, which verifies the name and the chain, and
OpenSSL reads the authorities from the file that the variable SSL_CERT_FILE names. Refresh, re-authorisation, reconnection and the return
of subscriptions are its own doing; this program only watches. The three things that a server does unasked are done by the test, after
the lines "refreshed" and "reconnected".
"""

import math
import time
from dataclasses import replace

import anyio
from ctrader_api_client import AccountCredentials, ClientConfig, CTraderClient, CTraderConnectionFailedError, RefreshPolicy
from ctrader_api_client.events import AccountDisconnectEvent, ReadyEvent, ReconnectedEvent, SpotEvent, TokenInvalidatedEvent
from ctrader_api_client.exceptions import TokenExpiredError
from steps import facts, report, report_installed

QUOTES = 3
"""Spot events that make a subscription count as alive: more than the one that repeats the last price."""
DEADLINE = 20
"""Seconds for everything between two steps."""


class Store:
    """Where the client puts a rotated pair."""

    def __init__(self):
        self.saved = []

    async def save(self, credentials):
        self.saved.append(credentials)


class Watch:
    """The events of the client, by class, as streams."""

    def __init__(self, client, *classes):
        self.streams = {}
        for cls in classes:
            send, self.streams[cls] = anyio.create_memory_object_stream(math.inf)
            client.on(cls)(send.send)

    async def next(self, cls):
        with anyio.fail_after(DEADLINE):
            return await self.streams[cls].receive()

    async def quotes(self, step):
        """Report spot events that come from now on."""
        while self.streams[SpotEvent].statistics().current_buffer_used:
            self.streams[SpotEvent].receive_nowait()
        report(step, quotes=[describe(await self.next(SpotEvent)) for _ in range(QUOTES)])


def describe(event):
    sides = {"bid": event.bid, "ask": event.ask}
    prices = {side: str(price) for side, price in sides.items() if price is not None}
    return {"account": event.account_id, "symbol": event.symbol_id, "timestamp": event.timestamp.timestamp(), **prices}


async def is_dead(asking):
    """Whether the server refuses the token that this uses."""
    try:
        await asking
    except TokenExpiredError:
        return True
    return False


async def walk(client, watch, store, given):
    """From the authenticated application to quotes, and again after each thing that can happen."""
    accounts = await client.accounts.list_by_token(given["access_token"])
    listed = [{"id": one.account_id, "live": one.is_live, "login": one.trader_login, "broker": one.broker_name} for one in accounts]
    report("account_list", accounts=listed)
    login = next(one.trader_login for one in accounts if one.is_live == (given["environment"] == "live"))
    account_id = await client.accounts.resolve_account_id(given["access_token"], login)

    first = AccountCredentials(account_id, given["access_token"], given["refresh_token"], time.time() + 86400)
    await client.auth.authenticate_trader(first)
    ready = await watch.next(ReadyEvent)
    report("account_auth", account=ready.account_id, trigger=ready.trigger.value)

    symbol = (await client.symbols.search(account_id, "EURUSD"))[0]
    await client.market_data.subscribe_spots(account_id, [symbol.symbol_id])
    report("spots", account=account_id, symbol=symbol.symbol_id)
    await watch.quotes("quotes")

    # A token at the end of its life: at its next look the client renews it and authorises the account with the new one.
    client.auth.replace_credentials(replace(first, expires_at=time.time() + 120))
    invalidated = await watch.next(TokenInvalidatedEvent)
    with anyio.fail_after(DEADLINE):
        while not (store.saved and await client.auth.probe_session(account_id)):
            await anyio.sleep(0.05)
    held = client.auth.get_credentials(account_id)
    report("refresh", reason=invalidated.reason, accounts=invalidated.account_ids, lifetime=held.expires_at - time.time())
    report("account_auth_again", saved=len(store.saved), is_held=store.saved[0] == held, is_new=held.access_token != first.access_token)
    report(
        "tokens",
        old_access_token_dead=await is_dead(client.accounts.list_by_token(first.access_token)),
        old_refresh_token_dead=await is_dead(client.auth.refresh(first)),
        new_access_token_dead=await is_dead(client.accounts.list_by_token(held.access_token)),
    )
    trader = await client.accounts.get_trader(account_id)
    report("trader", account=trader.account_id)
    await watch.quotes("quotes_after_refresh")

    report("refreshed")  # the test cuts the line
    reconnected = await watch.next(ReconnectedEvent)
    ready = await watch.next(ReadyEvent)
    report("ready_again", restored=reconnected.restored_accounts, failed=reconnected.failed_accounts, trigger=ready.trigger.value)
    await watch.quotes("quotes_after_reconnect")

    report("reconnected")  # the test ends the account's session, and the connection stays
    dropped = await watch.next(AccountDisconnectEvent)
    ready = await watch.next(ReadyEvent)
    report("ready_once_more", account=dropped.account_id, trigger=ready.trigger.value)
    await watch.quotes("quotes_after_drop")


async def main():
    report_installed("ctrader-api-client")
    given = facts()
    config = ClientConfig(
        host=given["host"],
        port=given["port"],
        client_id=given["client_id"],
        client_secret=given["client_secret"],
        request_timeout=10,
        connect_timeout=10,
        reconnect_min_wait=0.05,
        refresh_policy=RefreshPolicy(check_interval=0.1),
    )
    store = Store()
    client = CTraderClient(config, token_store=store)
    watch = Watch(client, SpotEvent, ReadyEvent, ReconnectedEvent, AccountDisconnectEvent, TokenInvalidatedEvent)
    try:
        async with client:
            report("application_auth", connected=client.is_connected)
            await walk(client, watch, store, given)
    except CTraderConnectionFailedError as error:
        report("not_connected", cause=repr(error.__cause__))


anyio.run(main)
