"""Holder: who holds a lease or noted an intent, and whether that one is surely gone.

Reads /proc and sends no signal. A holder counts as gone only on proof: same boot of the same kernel, same process namespace, and no
process of that id and start time. Everywhere else, and on systems without /proc, time alone decides.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process on a machine. `boot`, `namespace` and `started` are empty where the system does not tell."""

    host: str
    pid: int
    boot: str = ""
    namespace: str = ""
    started: str = ""

    @classmethod
    def current(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _boot(), _namespace(), _started(pid))

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        """The holder of a `str()`, or None for what is none."""
        parts = text.split("/")
        if len(parts) != 5 or not parts[1].isdecimal():
            return None
        host, pid, boot, namespace, started = parts
        return cls(unquote(host), int(pid), boot, unquote(namespace), started)

    def is_surely_gone(self, seen_from: Holder) -> bool:
        """Whether `seen_from`, asked on its own machine, proves that this process has ended."""
        if not (self.boot and self.namespace and self.started):
            return False
        if (self.boot, self.namespace) != (seen_from.boot, seen_from.namespace):
            return False
        return _has_ended(self.pid, self.started)

    def __str__(self) -> str:
        return f"{quote(self.host, safe='')}/{self.pid}/{self.boot}/{quote(self.namespace, safe='')}/{self.started}"

    def describe(self) -> str:
        """For a person: process and machine."""
        return f"process {self.pid} on {self.host}"


def describe(text: str) -> str:
    """A holder's text for a person."""
    holder = Holder.parse(text)
    return holder.describe() if holder is not None else (text or "somebody")


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return (_PROC / "self/ns/pid").readlink().name
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The start time of a process in ticks since boot; empty when it cannot be told."""
    return _state(pid)[1]


def _state(pid: int) -> tuple[str, str]:
    """State letter and start time of a process, both empty when they cannot be told."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return "", ""
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return state, fields[18]


def _has_ended(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)  # asks only; /proc may hide the processes of other users, this does not
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists
    state, start = _state(pid)
    return state in ("Z", "X") or start not in ("", started)
