from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import COMMAND, PATIENCE, Cli
from tradesession.cli.demo import BOT

ROOT = Path(__file__).parents[2]
LIKE_A_SECRET = re.compile(r"[\w-]{30,}")


def test_it_walks_from_consent_to_quotes_in_a_few_seconds() -> None:
    finished = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.count("READY") >= 5
    assert "signed in at B2Core" in finished.stdout
    assert "a broker at https://127.0.0.1" in finished.stdout
    assert len(re.findall(r"(EURUSD|GBPUSD) \d\.\d{5} / \d\.\d{5}", finished.stdout)) >= 5
    assert "another connection has taken over" in finished.stdout
    assert "closed in order" in finished.stdout
    assert not LIKE_A_SECRET.search(finished.stdout)


def test_kept_up_it_says_how_to_point_a_bot_at_it(cli: Cli) -> None:
    process = subprocess.Popen([*COMMAND, "demo", "--keep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    shown = ""
    while "Ctrl-C ends" not in shown and (line := process.stdout.readline()):
        shown += line
    variables = dict(re.findall(r"^export (\w+)=(\S+)$", shown, re.MULTILINE))
    cli.set(variables)
    result = cli("handshake", "ctrader", "--json").json
    with subprocess.Popen([sys.executable, "-u", "-c", BOT], env=os.environ | variables, stdout=subprocess.PIPE, text=True) as bot:
        assert bot.stdout is not None
        quote = bot.stdout.readline()
        bot.kill()
    refreshed = cli("tokens", "refresh", "ctrader", "--force", "--json").json
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert len(result["accounts"]) == 1
    assert BOT in shown
    assert re.fullmatch(r"(EURUSD|GBPUSD) \d\.\d{5} \d\.\d{5}\n", quote)
    assert refreshed["exchanged"] is True  # of the pair that the bot brought into the store


def test_the_bot_is_that_of_the_readme() -> None:
    assert f"```python\n{BOT}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_script_can_be_run() -> None:
    script = ROOT / "scripts/demo"
    assert os.access(script, os.X_OK)
    assert 'tradesession" demo' in script.read_text(encoding="utf-8")
