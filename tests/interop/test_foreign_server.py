"""Our client against a server that is made of the official SDK's classes and Twisted, and as awkward as a correct server may be."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.interop.certificates import Files
from tests.interop.programs import Program, Step, running
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(90, func_only=True),
    pytest.mark.xdist_group("official-sdk"),
    pytest.mark.usefixtures("leaks"),
]

SECRETS = {"client_id": "interop-client", "client_secret": "interop-client-secret", "access_token": "interop-access-token"}
REFRESH_TOKEN = "interop-refresh-token"
HANDSHAKE = ["ProtoOAApplicationAuthReq", "ProtoOAGetAccountListByAccessTokenReq"]


@asynccontextmanager
async def foreign_server(
    python: Path, certificate: Files, directory: Path, *, events_first: bool = False, sessions_stay: bool = False
) -> AsyncIterator[tuple[Program, ctrader.Config]]:
    """The server, running, and a configuration that leads there."""
    async with running(python, "foreign_server.py", directory) as program:
        await program.tell(
            **SECRETS,
            refresh_token=REFRESH_TOKEN,
            certificate=str(certificate.certificate),
            key=str(certificate.key),
            events_first=events_first,
            sessions_stay=sessions_stay,
        )
        place = await program.step("listening")
        options: dict[str, Any] = {**SECRETS, "host": "127.0.0.1", "port": place["port"], "ca_file": certificate.authority}
        yield program, ctrader.Config(**options, token_url=place["token_url"])


def received(steps: list[Step]) -> list[Step]:
    return [step for step in steps if step["step"] == "received" and step["name"] != "ProtoHeartbeatEvent"]


async def test_a_session_gets_ready_with_the_accounts_that_can_be_had(official_sdk: Path, certificate: Files, tmp_path: Path) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        async with tradesession.connect(config) as session:
            states = {account.id: account.state for account in session.accounts}
            refused = session.accounts.by_id(13)
        steps = await program.end()

    a, s = AccountState.AUTHORIZED, AccountState.SUSPENDED
    assert states == {11: a, 12: a, 13: s, 15: a}  # 14 is live, and 13 is too, although the list did not say so
    assert isinstance(refused.cause, tradesession.Rejected)
    assert refused.cause.code == "CANT_ROUTE_REQUEST"
    assert [step["name"] for step in received(steps)] == [*HANDSHAKE, *["ProtoOAAccountAuthReq"] * 4]
    assert all(step["has_id"] and step["fresh"] and step["complete"] for step in received(steps))
    assert [step for step in steps if step["step"] == "lost"] == [{"step": "lost", "cause": "ConnectionDone"}]


async def test_requests_that_are_answered_out_of_order_get_their_own_answers(
    official_sdk: Path, certificate: Files, tmp_path: Path
) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        async with tradesession.connect(config.replace(accounts=[11, 12])) as session:
            first, second, unknown = await asyncio.gather(
                session.request(pb.ProtoOASymbolByIdReq(ctidTraderAccountId=11, symbolId=[1])),
                session.request(pb.ProtoOASymbolByIdReq(ctidTraderAccountId=12, symbolId=[2])),
                session.request(pb.ProtoOATraderReq(ctidTraderAccountId=11)),
                return_exceptions=True,
            )
            state = session.state
        steps = await program.end()

    assert isinstance(first, pb.ProtoOASymbolByIdRes)
    assert isinstance(second, pb.ProtoOASymbolByIdRes)
    assert [(reply.ctidTraderAccountId, [one.symbolId for one in reply.symbol]) for reply in (first, second)] == [(11, [1]), (12, [2])]
    assert isinstance(unknown, tradesession.Rejected)
    assert unknown.code == "UNSUPPORTED_MESSAGE"
    assert state is tradesession.SessionState.READY
    assert [step["name"] for step in received(steps)][-3:] == ["ProtoOASymbolByIdReq", "ProtoOASymbolByIdReq", "ProtoOATraderReq"]


async def test_quotes_come_as_prices_with_both_sides(official_sdk: Path, certificate: Files, tmp_path: Path) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        async with tradesession.connect(config.replace(accounts=[11])) as session:
            stream = session.spots(session.accounts.only(), "EURUSD", "USDJPY", timestamps=True)
            async with stream:
                quotes = [await anext(stream) for _ in range(6)]
        steps = await program.end()

    assert [(quote.symbol, str(quote.bid), str(quote.ask)) for quote in quotes] == [
        ("EURUSD", "1.08512", "1.08515"),
        ("EURUSD", "1.08512", "1.08517"),
        ("EURUSD", "1.08513", "1.08517"),
        ("USDJPY", "154.321", "154.325"),
        ("USDJPY", "154.321", "154.325"),  # two units of the wire are less than its digits show
        ("USDJPY", "154.321", "154.325"),
    ]
    assert {type(quote.ask) for quote in quotes} == {Decimal}
    assert all(quote.timestamp is not None for quote in quotes)
    names = [step["name"] for step in received(steps)]
    assert names[-4:] == ["ProtoOASymbolsListReq", "ProtoOASymbolByIdReq", "ProtoOASubscribeSpotsReq", "ProtoOAUnsubscribeSpotsReq"]


async def test_events_of_other_clients_reach_the_streams_and_nobody_else(official_sdk: Path, certificate: Files, tmp_path: Path) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        async with tradesession.connect(config.replace(accounts=[11])) as session:
            executions = session.events(pb.ProtoOAExecutionEvent, account=session.accounts.only())
            reply = await session.request(pb.ProtoOASymbolsListReq(ctidTraderAccountId=11))
            event = await anext(executions)
        await program.end()

    assert [symbol.symbolName for symbol in reply.symbol] == ["EURUSD", "USDJPY"]
    assert (event.ctidTraderAccountId, event.executionType) == (11, pb.ProtoOAExecutionType.ORDER_ACCEPTED)


async def test_heartbeats_are_heard_and_ask_for_no_answer(official_sdk: Path, certificate: Files, tmp_path: Path) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        async with tradesession.connect(config.replace(heartbeat_interval=0.05)) as session:
            heard = await program.step("received")
            while heard["name"] != "ProtoHeartbeatEvent":
                heard = await program.step("received")
            state = session.state
        await program.end()
    assert heard == {"step": "received", "name": "ProtoHeartbeatEvent", "has_id": False, "fresh": True, "complete": True}
    assert state is tradesession.SessionState.READY


@pytest.mark.parametrize(("events_first", "sessions_stay"), [(False, False), (True, False), (False, True)])
async def test_a_refresh_happens_once_and_quotes_go_on(
    official_sdk: Path, certificate: Files, tmp_path: Path, events_first: bool, sessions_stay: bool
) -> None:
    server = foreign_server(official_sdk, certificate, tmp_path, events_first=events_first, sessions_stay=sessions_stay)
    async with server as (program, config):
        async with tradesession.SessionManager(store="memory:") as manager:
            config = config.replace(accounts=[11, 12], refresh_token=REFRESH_TOKEN)
            session = await manager.open(config)
            stream = session.spots(session.accounts.by_id(11), "EURUSD")
            async with stream, asyncio.timeout(60):
                await anext(stream)
                token = await manager.tokens(config).renew()
                await authorised_with(program, 4)
                while any(account.state is not AccountState.AUTHORIZED for account in session.accounts):
                    await asyncio.sleep(0.01)
                while stream.statistics().queued:
                    await anext(stream)
                quote = await anext(stream)
            used = [account.token for account in session.accounts]
        steps = await program.end()

    assert token.access.reveal() == SECRETS["access_token"] + "+"
    assert token.refresh is not None
    assert token.refresh.reveal() == REFRESH_TOKEN + "+"
    assert used == [token, token]
    assert quote.bid < quote.ask
    assert [step["step"] for step in steps].count("exchanged") == 1
    assert [step["name"] for step in received(steps)].count("ProtoOAAccountAuthReq") == 4


async def authorised_with(program: Program, count: int) -> None:
    """Wait until the server has seen so many requests for account authorisation."""
    while sum(step.get("name") == "ProtoOAAccountAuthReq" for step in program.steps) < count:
        await program.step("received")


async def test_a_dead_access_token_is_renewed_on_the_way(official_sdk: Path, certificate: Files, tmp_path: Path) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        config = config.replace(accounts=[11, 12], access_token="long dead", refresh_token=REFRESH_TOKEN)
        async with tradesession.connect(config, store="memory:") as session:
            states = {account.state for account in session.accounts}
        steps = await program.end()
    assert states == {AccountState.AUTHORIZED}
    application_auth, account_list = HANDSHAKE
    names = [step["name"] for step in received(steps) if step["name"] != "ProtoOARefreshTokenReq"]
    assert names == [application_auth, account_list, account_list, *["ProtoOAAccountAuthReq"] * 2]
    assert [step["step"] for step in steps].count("exchanged") == 1


@pytest.mark.parametrize("wrong", ["client_secret", "access_token"])
async def test_a_refusal_says_so_and_leaves_nothing_open(official_sdk: Path, certificate: Files, tmp_path: Path, wrong: str) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        with pytest.raises(tradesession.Error, match=wrong.split("_")[1]):
            async with tradesession.connect(config.replace(**{wrong: "not the one"})):
                pytest.fail(f"a session with a wrong {wrong} is READY")
        steps = await program.end()
    assert [step["step"] for step in steps].count("lost") == 1


@pytest.mark.parametrize(("changes", "status"), [({}, 0), ({"ACCOUNT": "13"}, 6), ({"CLIENT_SECRET": "not the one"}, 3)])
async def test_the_handshake_command_works_with_it(
    official_sdk: Path, certificate: Files, tmp_path: Path, changes: dict[str, str], status: int
) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        options = {name.upper(): value for name, value in SECRETS.items()}
        options |= {"HOST": config.host, "PORT": str(config.port), "CA_FILE": str(certificate.authority), "REFRESH_TOKEN": REFRESH_TOKEN}
        variables = {f"TRADESESSION_CTRADER_{name}": value for name, value in (options | changes).items()}
        output, complaint, ended = await handshake(variables)
        steps = await program.end()

    assert ended == status, complaint
    assert "exchanged" not in [step["step"] for step in steps]
    if status:
        assert complaint.startswith("error: ")
        assert len(complaint.splitlines()) == 1
        return
    told = json.loads(output)
    assert told["state"] == "READY"
    assert [step["name"] for step in told["steps"][:3]] == ["connect", "application_auth", "account_list"]
    assert [account["ctidTraderAccountId"] for account in told["accounts"] if account["state"] == "AUTHORIZED"] == [11, 12, 15]


async def handshake(variables: dict[str, str]) -> tuple[str, str, int | None]:
    """`tradesession handshake ctrader --json` with these variables; what it prints, what it complains of, and its exit code."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; from tradesession.cli import main; sys.exit(main())", "handshake", "ctrader", "--json",
        env={name: value for name, value in os.environ.items() if not name.startswith("TRADESESSION_")} | variables,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            output, complaint = await command.communicate()
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()
    return output.decode(), complaint.decode(), command.returncode


async def test_its_certificate_is_refused_by_who_does_not_know_its_authority(
    official_sdk: Path, certificate: Files, tmp_path: Path
) -> None:
    async with foreign_server(official_sdk, certificate, tmp_path) as (program, config):
        with pytest.raises(tradesession.CertificateRefused, match="ca_file"):
            async with tradesession.connect(config.replace(ca_file=None)):
                pytest.fail("a session with a server of an unknown authority is READY")
        steps = await program.end()
    assert received(steps) == []
