from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.sandbox.raw_client import PATIENCE
from tradesession.sandbox import known_faults

COMMAND = "import sys; from tradesession.cli import main; sys.argv[0] = 'tradesession'; sys.exit(main())"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error::ResourceWarning", "-c", COMMAND, "sandbox", *arguments, stdout=pipe, stderr=pipe
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(4 * PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_line_of_json_then_service_until_a_signal_then_nothing_left(number: signal.Signals) -> None:
    process = await start("--json", "--plain", "--seed", "3", "--fault", "unknown-fields", "--fault", "slice-output=1")
    assert process.stdout is not None
    async with asyncio.timeout(4 * PATIENCE):
        described = json.loads(await process.stdout.readline())["ctrader"]
    assert Path(described["ca_file"]).exists()
    for environment in ("demo", "live"):
        for key in ("port", "plain_port"):
            _, writer = await asyncio.open_connection(described[environment]["host"], described[environment][key])
            writer.close()
            await writer.wait_closed()
    process.send_signal(number)
    assert await finish(process) == (0, "", "")
    assert not Path(described["ca_file"]).parent.exists()


async def test_a_person_is_told_where_everything_is_and_how_to_point_a_bot_at_it() -> None:
    process = await start("--fault", "half-open")
    assert process.stdout is not None
    shown = b""
    async with asyncio.timeout(4 * PATIENCE):
        while b"_PORT=" not in shown and (line := await process.stdout.readline()):
            shown += line
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    assert (await finish(process))[0] == 0
    for word in (b"wss://127.0.0.1:", b"/apps/token", b"half-open", b"export TRADESESSION_CTRADER_CLIENT_SECRET="):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "nonsense"], "there are refuse-connections"),
        (["--fault", "slice-output=x"], "a whole number"),
        (["--fault", "nowhere.half-open"], "no platform 'nowhere'"),
        (["--host", "192.0.2.1"], "not a loopback address"),
    ],
)
async def test_a_wrong_option_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    code, out, err = await finish(await start("--json", *arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


async def test_the_faults_are_listed_on_request() -> None:
    code, out, _ = await finish(await start("--fault", "help"))
    assert code == 0
    assert all(name in out for faults in known_faults().values() for name in faults)


@pytest.mark.parametrize("platform", ["cplugin", "tradingview", "b2core"])
async def test_what_it_tells_of_a_platform_as_text_points_a_client_at_it_as_variables(platform: str) -> None:
    process = await start("--json", "--plain")
    assert process.stdout is not None
    async with asyncio.timeout(4 * PATIENCE):
        described = json.loads(await process.stdout.readline())[platform]
    prefix = f"TRADESESSION_{platform.upper()}_"
    variables = {prefix + name.upper(): str(value) for name, value in described.items() if not isinstance(value, dict)}
    handshake = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "handshake", platform, "--json"),
        env=os.environ | variables | {"TRADESESSION_STORE": "memory:"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await finish(handshake)
    assert (code, err) == (0, "")
    assert json.loads(out)["state"] == "READY"
    process.send_signal(signal.SIGINT)
    assert (await finish(process))[0] == 0
