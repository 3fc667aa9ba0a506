"""`tradesession tokens …`: what is in the token store, shown without secrets unless they are asked for, renewed, brought in, taken out.

Renewing goes through a TokenKeeper with all its rules; everything else talks to the store alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias, TypeVar

import typer

from tradesession.cli.manager import managed
from tradesession.cli.options import STORE, Given, Json
from tradesession.cli.output import Screen
from tradesession.cli.platform import Stored
from tradesession.cli.platforms import PLATFORMS
from tradesession.cli.stored import as_facts, as_json, expiry, exported, imported
from tradesession.errors import ConfigurationError, Conflict, ReauthorizationRequired
from tradesession.tokens.store import StoredGrant, TokenStore
from tradesession.tokens.stores import open_store
from tradesession.tokens.token import Slot, Token

R = TypeVar("R")

Reveal: TypeAlias = Annotated[bool, typer.Option("--reveal", help="Show the secrets themselves.")]
Store: TypeAlias = Annotated[
    str | None, typer.Option("--store", envvar=STORE.variable, metavar=STORE.metavar, help=STORE.help, show_default=False)
]


def list_tokens(
    platform: Annotated[str | None, typer.Argument(help="Only those of this platform.", show_default=False)] = None,
    store: Store = None,
    json_only: Json = False,
) -> None:
    """List the tokens in the store: whose they are, how they stand, and when they end."""

    if platform not in (None, *(known.name for known in PLATFORMS)):
        raise ConfigurationError(f"{platform!r} is no platform; there is {', '.join(known.name for known in PLATFORMS)}")

    async def load(opened: TokenStore) -> list[tuple[Slot, StoredGrant]]:
        slots = [slot for slot in await opened.slots() if platform in (None, slot.platform)]
        return [(slot, grant) for slot in slots if (grant := await opened.load(slot)) is not None]

    found = _with_store(store, load)
    screen, wall = Screen(as_json=json_only), time.time()
    for slot, grant in found:
        facts = as_facts(slot, grant, wall)
        level = "" if slot.slot == "default" else f", {slot.slot}"
        name = f"{slot.platform} {slot.client}, subject {slot.subject}{level}"
        screen.item(f"{name}: generation {grant.generation}, {facts['state']}, grant {facts['grant']}, expires {facts['expires']}")
    if not found:
        screen.say("The store holds no token.")
    screen.result({"tokens": [as_json(slot, grant, wall) for slot, grant in found]})


def show(platform: Stored, given: Given, reveal: Reveal = False, json_only: Json = False) -> None:
    """Show a token of the store: its generation, its age, its state; its secrets only with --reveal."""

    async def load(store: TokenStore) -> tuple[Slot, StoredGrant]:
        slot = await _slot(store, platform, given)
        return slot, await _grant(store, slot)

    _present(*_with_store(given.get("store"), load), Screen(as_json=json_only), reveal=reveal)


def refresh(
    platform: Stored,
    given: Given,
    min_ttl: Annotated[float, typer.Option("--min-ttl", metavar="SECONDS", min=0, help="How long the token has to live.")] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Exchange it whatever its age, and however the grant stands.")] = False,
    json_only: Json = False,
) -> None:
    """Make sure that the token lives long enough, and renew it if it does not: once, whoever else is doing the same at this moment."""
    config = platform.config(given)

    async def renew() -> tuple[Token, bool]:
        async with managed(config) as manager:
            keeper = manager.tokens(config)
            token = await (keeper.renew() if force else keeper.get(min_ttl))
            return token, keeper.exchanges > 0

    token, exchanged = asyncio.run(renew())
    screen = Screen(as_json=json_only)
    screen.done(f"{'renewed' if exchanged else 'good as it is'}: generation {token.generation}, expires {expiry(token, time.time())}")
    screen.result({"generation": token.generation, "expires_at": token.expires_at, "exchanged": exchanged})


def import_token(
    platform: Stored,
    given: Given,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there even if it is newer.")] = False,
    json_only: Json = False,
) -> None:
    """Read the reply of a token endpoint (or an export) from standard input, and put its pair into the store."""
    slot = platform.slot(given)
    if sys.stdin.isatty():
        sys.stderr.write("Paste the token endpoint's reply, then press Ctrl-D on a line of its own.\n")
    token = imported(sys.stdin.buffer.read(), time.time())

    async def put(store: TokenStore) -> StoredGrant:
        try:
            await store.put(slot, token, force=force)
        except Conflict as conflict:
            raise Conflict(f"{conflict} (--force)") from conflict
        return await _grant(store, slot)

    _present(slot, _with_store(given.get("store"), put), Screen(as_json=json_only))


def export(
    platform: Stored,
    given: Given,
    reveal: Reveal = False,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, the pair is to leave the store's protection.")] = False,
) -> None:
    """Print a pair in the clear, as JSON that `import` reads. Two places that renew the same pair lock each other out."""
    if not (reveal and yes):
        raise ConfigurationError("an export shows the secrets, and works only when it is asked for twice: give --reveal and --yes")

    async def load(store: TokenStore) -> StoredGrant:
        return await _grant(store, await _slot(store, platform, given))

    sys.stdout.write(json.dumps(exported(_with_store(given.get("store"), load).token)) + "\n")


def remove(
    platform: Stored,
    given: Given,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_only: Json = False,
) -> None:
    """Forget a token. It is not revoked: whoever has a copy can still use it."""

    async def forget(store: TokenStore) -> Slot | None:
        slot = await _slot(store, platform, given)
        if not yes and sys.stdin.isatty() and not typer.confirm(f"Remove the token of {slot.client}, subject {slot.subject}?", err=True):
            return None
        if not await store.remove(slot):
            raise _absent(slot)
        return slot

    removed = _with_store(given.get("store"), forget)
    screen = Screen(as_json=json_only)
    screen.say("not removed") if removed is None else screen.done(f"token of {removed.client}, subject {removed.subject}, removed")
    screen.result({"removed": removed is not None})


def commands() -> typer.Typer:
    """The group `tokens` with its commands, each for every platform."""
    group = typer.Typer(help="Look after the tokens in the store.")
    group.command("list")(list_tokens)
    for name, command, help_text in (
        ("show", show, "Show one token, without its secrets."),
        ("refresh", refresh, "Make sure that a token lives long enough."),
        ("import", import_token, "Bring in the reply of a token endpoint."),
        ("export", export, "Print a pair in the clear."),
        ("remove", remove, "Forget a token."),
    ):
        by_platform = typer.Typer(help=help_text)
        for platform in PLATFORMS:
            if (stored := platform.stored) is not None:
                options = stored.grant_options if command is refresh else stored.slot_options
                by_platform.command(platform.name)(stored.options.takes(*options, platform=stored)(command))
        group.add_typer(by_platform, name=name)
    return group


def _with_store(url: str | None, work: Callable[[TokenStore], Awaitable[R]]) -> R:
    async def run() -> R:
        async with open_store(url) as store:
            return await work(store)

    return asyncio.run(run())


async def _slot(store: TokenStore, platform: Stored, given: Given) -> Slot:
    """The slot that was named, or the only one of the platform."""
    if all(given.get(name) for name in platform.named_by):
        return platform.slot(given)
    subject = given.get("subject")
    slots = [slot for slot in await store.slots() if slot.platform == platform.name and subject in (None, slot.subject)]
    slots = [slot for slot in slots if platform.level in ("", slot.slot)]
    if len(slots) > 1:
        choice = ", ".join(map(platform.options.flag, platform.named_by))
        known = "; ".join(f"{slot.client}, subject {slot.subject}" for slot in slots)
        raise ConfigurationError(f"the store holds {len(slots)} tokens: choose one by {choice} and --subject ({known})")
    if not slots:
        raise ReauthorizationRequired(f"the store holds no such token: {_way_to_one(platform.name)}")
    return slots[0]


async def _grant(store: TokenStore, slot: Slot) -> StoredGrant:
    grant = await store.load(slot)
    if grant is None:
        raise _absent(slot)
    return grant


def _absent(slot: Slot) -> ReauthorizationRequired:
    return ReauthorizationRequired(f"the store holds no token of {slot.client}, subject {slot.subject}: {_way_to_one(slot.platform)}")


def _way_to_one(name: str) -> str:
    has_login = any(platform.name == name and platform.login is not None for platform in PLATFORMS)
    return (f"`tradesession login {name}`, or " if has_login else "") + f"`tradesession tokens import {name}`"


def _present(slot: Slot, grant: StoredGrant, screen: Screen, *, reveal: bool = False) -> None:
    wall = time.time()
    screen.facts(as_facts(slot, grant, wall, reveal=reveal))
    screen.result(as_json(slot, grant, wall, reveal=reveal))
