"""`tradesession watch ctrader`, as programs and people see it."""

import asyncio
import fcntl
import json
import os
import select
import signal
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, Cli, Server
from tradesession.sandbox import Sandbox


def test_the_json_lines_are_states_and_quotes_until_there_were_enough(cli: Cli, server: Server) -> None:
    cli.set(server.environment())
    finished = cli("watch", "ctrader", "EURUSD", "GBPUSD", "--json", "--count", 5)
    assert finished.code == 0, finished.err
    lines = [json.loads(line) for line in finished.out.splitlines()]
    assert lines[0]["kind"] == "state"
    assert lines[0]["after"] == "READY"
    quotes = [line for line in lines if line["kind"] == "quote"]
    assert len(quotes) == 5
    assert {quote["symbol"] for quote in quotes} == {"EURUSD", "GBPUSD"}
    assert all(0 < float(quote["bid"]) <= float(quote["ask"]) for quote in quotes)
    assert all(quote["timestamp"] and quote["account"] == lines[0]["account"] for quote in quotes)


def test_without_a_terminal_each_quote_is_a_line(cli: Cli, server: Server) -> None:
    cli.set(server.environment())
    finished = cli("watch", "ctrader", "EURUSD", "--count", 2)
    assert finished.code == 0, finished.err
    assert [line.split()[0] for line in finished.out.splitlines()] == ["--", "EURUSD", "EURUSD"]


def test_an_unknown_symbol_is_an_error_that_names_it(cli: Cli, server: Server) -> None:
    cli.set(server.environment())
    finished = cli("watch", "ctrader", "EURUSB", "--json")
    assert finished.code == 2
    assert "EURUSB" in finished.err
    assert finished.err.count("\n") == 1


async def lines_of(process: asyncio.subprocess.Process, until: str) -> list[dict[str, Any]]:
    """The lines up to the first one of this kind."""
    assert process.stdout is not None
    lines: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not lines or lines[-1]["kind"] != until:
            lines.append(json.loads(await process.stdout.readline()))
    return lines


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_it_stays_through_a_loss_and_says_goodbye_when_it_is_told_to_stop(ending: signal.Signals) -> None:
    async with Sandbox(seed=1) as sandbox:
        environment = Server({"ctrader": sandbox.ctrader.describe()}).environment()
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "watch", "ctrader", "EURUSD", "--json", env=os.environ | environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            await lines_of(process, "quote")
            await sandbox.ctrader.faults.cut()
            after = await lines_of(process, "gap")
            assert next(line["after"] for line in after if line["kind"] == "state") == "BACKOFF"
            assert after[-1]["since"] <= after[-1]["until"]
            await lines_of(process, "quote")
        finally:
            process.send_signal(ending)
            async with asyncio.timeout(60):
                await process.communicate()
        assert process.returncode == 0
        closings = [closing.cause for closing in sandbox.ctrader.state.closings]
    assert len(closings) == 2


async def test_it_ends_in_an_outage_too_when_nobody_reads_any_more() -> None:
    async with Sandbox(seed=1) as sandbox:
        environment = Server({"ctrader": sandbox.ctrader.describe()}).environment()
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "watch", "ctrader", "EURUSD", "--json", env=os.environ | environment, stdout=writing, stderr=asyncio.subprocess.PIPE
        )
        os.close(writing)
        while b'"quote"' not in await asyncio.to_thread(os.read, reading, 1 << 16):
            pass
        sandbox.ctrader.feed.pause()
        sandbox.ctrader.faults.refuse_connections = True
        os.close(reading)
        await sandbox.ctrader.faults.cut()
        try:
            async with asyncio.timeout(60):
                _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, said) == (1, b"")


async def test_a_reader_that_has_stopped_holds_up_no_signal_and_gets_whole_lines() -> None:
    async with Sandbox(seed=1) as sandbox:
        environment = Server({"ctrader": sandbox.ctrader.describe()}).environment()
        sandbox.ctrader.feed.interval = 0.005
        ticks: list[object] = []
        sandbox.ctrader.feed.on_tick.append(ticks.append)
        reading, writing = os.pipe()
        size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 8192) if hasattr(fcntl, "F_SETPIPE_SZ") else 1 << 16
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "watch", "ctrader", "EURUSD", "--json", env=os.environ | environment, stdout=writing
        )
        try:
            async with asyncio.timeout(60):
                while select.select([], [writing], [], 0)[1]:
                    await asyncio.sleep(0.01)
                ticks.clear()
                while len(ticks) < size / 50:  # more than the pipe would take in
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            os.close(writing)
        with os.fdopen(reading) as lines:
            assert {json.loads(line)["kind"] for line in lines} >= {"state", "quote"}
