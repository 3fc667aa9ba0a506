"""Writes the Python files that follow from the .proto files beside it: messages.py, _requests.py and wire/__init__.py.

Called by scripts/gen-proto as `render.py DESCRIPTOR_SET OUT`, in the generator's own environment. It reads descriptors
only, never the package, so that it also works while the package is broken. Its output is what `ruff format` would leave.
"""

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

PACKAGE = "tradesession.ctrader"
ANSWERED_BY = f"{PACKAGE}.answered_by"
DO_NOT_EDIT = "Generated from proto/ctrader by scripts/gen-proto: change the .proto files, not this one."
LINE_LENGTH = 140

WIRE = f'''"""The messages of the cTrader wire as protobuf classes. Import them from `tradesession.ctrader.messages`.

{DO_NOT_EDIT}
"""
'''

MESSAGES_HEAD = f'''"""Every message and enum of the cTrader Open API, under the name the Open API documents give it.

{DO_NOT_EDIT}
"""
'''

REQUESTS_HEAD = f'''"""The request method of a cTrader session, typed: whoever sends a request knows the class of its reply.

{DO_NOT_EDIT}
It holds types and no behaviour: how a request travels is for the class that inherits it to say.
"""

from abc import ABC, abstractmethod
from typing import overload

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb


class TypedRequests(ABC):
    """Gives `request` one signature for each request message; whoever inherits it writes `_request` only."""

    @abstractmethod
    async def _request(self, message: Message, timeout: float | None, *, wait: bool = True) -> Message:
        """Send the request and return the reply that belongs to it."""

'''

REQUESTS_TAIL = '''    async def request(self, message: Message, *, timeout: float | None = None, wait: bool = True) -> Message:
        """Send a request and return its reply, whose class the request decides.

        The five order requests are answered by their first `ProtoOAExecutionEvent`. `timeout` is in seconds, from this call until the
        reply; None takes the session's own. While there is no connection the request waits for one as long; with `wait=False` it fails
        at once. Raises `tradesession.Rejected` when the server refuses, `tradesession.NotSent` when the request never left,
        `tradesession.DeadlineExceeded` when a question stayed without an answer, and `tradesession.OutcomeUnknown` when something that
        has effects left and no answer came.
        """
        return await self._request(message, timeout, wait=wait)
'''


def wire_messages(files: list[FileDescriptorProto]) -> str:
    """Return messages.py: explicit imports, so that editors and type checkers see every name."""
    names: list[str] = []
    lines = [MESSAGES_HEAD]
    for file in files:
        found = sorted([m.name for m in file.message_type] + [e.name for e in file.enum_type], key=str.lower)
        module = file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
        one_line = f"from {module} import {', '.join(found)}"
        if len(one_line) <= LINE_LENGTH:
            lines.append(one_line)
        else:
            lines += [f"from {module} import (", *(f"    {name}," for name in found), ")"]
        names += found
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(names)), "]"]
    return "\n".join(lines) + "\n"


def typed_requests(replies: list[tuple[str, str]]) -> str:
    """Return _requests.py: one overload for each request, in the order of the payload types."""
    lines = []
    for request, reply in replies:
        parameters = f"self, message: pb.{request}, *, timeout: float | None = None, wait: bool = True"
        one_line = f"    async def request({parameters}) -> pb.{reply}: ..."
        lines.append("    @overload")
        if len(one_line) <= LINE_LENGTH:
            lines.append(one_line)
        else:
            lines += ["    async def request(", f"        {parameters}", f"    ) -> pb.{reply}: ..."]
    return REQUESTS_HEAD + "\n".join(lines) + "\n" + REQUESTS_TAIL


def replies_of(files: FileDescriptorSet) -> list[tuple[str, str]]:
    """Return (request, reply) by payload type, read off the `answered_by` option and the payloadType default."""
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    classes = GetMessageClassesForFiles([file.name for file in files.file], pool)
    answered_by = pool.FindExtensionByName(ANSWERED_BY)
    options = classes["google.protobuf.MessageOptions"]
    found = []
    for name, cls in classes.items():
        own = options.FromString(cls.DESCRIPTOR.GetOptions().SerializeToString())
        if own.HasExtension(answered_by):
            number = cls.DESCRIPTOR.fields_by_name["payloadType"].default_value
            found.append((number, name.rpartition(".")[2], own.Extensions[answered_by]))
    assert all(f"{PACKAGE}.{reply}" in classes for _, _, reply in found), "answered_by names a message that is missing"
    return [(request, reply) for _, request, reply in sorted(found)]


def main(descriptor_set: str, out: str) -> None:
    """Write the three files below `out`, the folder of tradesession.ctrader."""
    files = FileDescriptorSet.FromString(Path(descriptor_set).read_bytes())
    ours = [file for file in files.file if file.package == PACKAGE and not file.name.endswith("/options.proto")]
    ours.sort(key=lambda file: file.name)
    folder = Path(out)
    (folder / "wire" / "__init__.py").write_text(WIRE)
    (folder / "messages.py").write_text(wire_messages(ours))
    (folder / "_requests.py").write_text(typed_requests(replies_of(files)))


if __name__ == "__main__":
    main(*sys.argv[1:])
