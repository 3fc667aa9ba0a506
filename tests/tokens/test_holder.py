"""Who holds a lease, and when he is proved gone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.tokens import holder
from tradesession.tokens.holder import Holder, describe

ME = Holder.current()


def test_this_process_is_not_gone() -> None:
    assert ME.pid == os.getpid()
    assert not ME.is_surely_gone(ME)


@given(st.text(), st.integers(0, 2**31), st.text(alphabet="0123456789abcdef-"), st.text(), st.text(alphabet="0123456789"))
def test_a_holder_reads_back(host: str, pid: int, boot: str, namespace: str, started: str) -> None:
    one = Holder(host, pid, boot, namespace, started)
    assert Holder.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "a/b", "a/b/c/d/e", "a/-1/c/d/e"])
def test_what_is_no_holder(text: str) -> None:
    assert Holder.parse(text) is None
    assert describe(text) == (text or "somebody")


def test_a_holder_for_a_person() -> None:
    assert describe(str(Holder("box", 7))) == "process 7 on box"


@pytest.mark.skipif(not ME.started, reason="this system does not tell when a process began")
def test_a_killed_process_is_gone_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        other = replace(ME, pid=process.pid, started=holder._started(process.pid))
        assert not other.is_surely_gone(ME)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert other.is_surely_gone(ME), "a zombie holds nothing"
        process.wait()
        assert other.is_surely_gone(ME)


@pytest.mark.skipif(not ME.started, reason="this system does not tell when a process began")
def test_a_process_that_got_the_number_of_another_is_not_that_one() -> None:
    assert replace(ME, started="1").is_surely_gone(ME)


def test_elsewhere_nothing_is_proved() -> None:
    gone = replace(ME, pid=2**22 + 1, boot="b", namespace="pid:[1]", started="1")
    here = replace(ME, boot="b", namespace="pid:[1]")
    assert gone.is_surely_gone(here)
    for other in (replace(here, boot="another"), replace(here, namespace="pid:[2]")):
        assert not gone.is_surely_gone(other)
    for unknown in (replace(gone, boot=""), replace(gone, namespace=""), replace(gone, started="")):
        assert not unknown.is_surely_gone(replace(here, boot=unknown.boot, namespace=unknown.namespace))


def test_a_system_without_proc_proves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(holder, "_PROC", tmp_path)
    blind = Holder.current()
    assert (blind.boot, blind.namespace, blind.started) == ("", "", "")
    assert not blind.is_surely_gone(blind)
    assert not ME.is_surely_gone(ME), "a process that is there, and of which nothing can be told, may be the one"


def test_a_process_of_another_user_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        assert number == 0
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not ME.is_surely_gone(ME)
