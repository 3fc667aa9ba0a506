"""A SessionManager for one command: should the store stay away after an exchange, the new pair ends in a file instead of nowhere."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tradesession.cli.stored import exported
from tradesession.errors import StoreError
from tradesession.hooks import Hook
from tradesession.session.manager import SessionManager
from tradesession.session.services import PlatformConfig
from tradesession.tokens.token import Slot, Token


@asynccontextmanager
async def managed(config: PlatformConfig[Any], hooks: Iterable[Hook] = ()) -> AsyncIterator[SessionManager]:
    """The manager, closed behind the block. Raises StoreError, naming the file, when a pair could not be saved where it belongs."""
    manager = SessionManager(hooks=hooks)
    keeper = manager.tokens(config)
    try:
        async with manager:
            yield manager
    except BaseException as error:  # whoever interrupts it does not want to wait for the store, and knows nothing of a pair
        token = keeper.peek()
        if keeper.is_saved or token is None:
            raise
        raise in_a_file(token, config.slot) from error


def in_a_file(token: Token, slot: Slot) -> StoreError:
    """Put a pair into a file because the store does not take it; the error that tells where it is."""
    path = _written(token)
    return StoreError(
        f"the store could not be reached after an exchange: the new pair, the only good one, is in {path}; when the store is back, "
        f"`tradesession tokens import {slot.platform} --force < {path}` with the options that name the token (client {slot.client}, "
        f"subject {slot.subject}), then delete the file"
    )


def _written(token: Token) -> str:
    handle, path = tempfile.mkstemp(prefix="tradesession-unsaved-", suffix=".json")  # readable by its owner alone
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(exported(token), file)
        file.flush()
        os.fsync(file.fileno())
    return path
