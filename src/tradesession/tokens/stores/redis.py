"""RedisStore: tokens in a Redis server, shared by machines.

Promises the contract of TokenStore among all that reach the server, each step as one Lua script, except for durability, which is the
server's: with `appendonly yes` and `appendfsync always` a commit is on the disk before it returns; with `everysec` (the usual setting)
a crash of the server's machine forgets up to two seconds of commits, a crash of the server alone none; without an append-only file a
restart forgets everything since the last snapshot. What the server forgot is written again by the process that has the token in
memory, as long as that lives; if both die within those seconds, a person must give consent again. The setting is looked at when the
store opens, and anything below `always` is said in the log; from Redis 7.2 on, a commit under `everysec` waits for the disk (WAITAOF).
A server that evicts keys (`maxmemory-policy` other than `noeviction`) may throw tokens away, so that is said, too. One server or one
with replicas behind a proxy or Sentinel; not a cluster. Ages and leases go by the server's clock. Driver: redis-py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tradesession import policy
from tradesession.errors import ConfigurationError, StoreError, StoreUnreachable, StoreUnusable
from tradesession.secrets import redact_url
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK, sleep
from tradesession.tokens.store import Row, TokenStore, Write, too_new

_log = logging.getLogger("tradesession.tokens.store")

DEFAULT_PREFIX: Final = "tradesession:"

VERSION: Final = 1
"""Of the layout of the keys; kept under `<prefix>version`."""

# Each script gets KEYS = grant (a hash), lease (a string with a time limit), slots (a set), and ARGV = channel, slot, its own arguments.
_COMMON: Final = """
local grant, lease, slots, channel, slot = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function stored(field) return redis.call('HGET', grant, field) end
local function is(generation) return stored('generation') == generation and stored('status') ~= 'removed' end
local function set(...)
  redis.call('HSET', grant, ...)
  redis.call('HINCRBY', grant, 'revision', 1)
  redis.call('PUBLISH', channel, slot)
  return 1
end
local function seconds(number) return string.format('%.6f', number) end
"""

_READ: Final = """
local fields = redis.call('HMGET', grant, 'generation', 'revision', 'status', 'attempts', 'actor', 'cause', 'lineage', 'payload')
if not fields[1] then return false end
fields[9] = seconds(now - stored('born_at'))
fields[10] = seconds(now - stored('since'))
return fields
"""

_TAKE: Final = """
local current = redis.call('GET', lease)
if current and current ~= ARGV[5] and current ~= ARGV[3] then return current end
redis.call('SET', lease, ARGV[3], 'PX', ARGV[4])
return false
"""

_EXTEND: Final = """
if redis.call('GET', lease) ~= ARGV[3] then return 0 end
return redis.call('PEXPIRE', lease, ARGV[4])
"""

_RELEASE: Final = """
if redis.call('GET', lease) ~= ARGV[3] then return 0 end
return redis.call('DEL', lease)
"""

_NOTE: Final = """
if redis.call('GET', lease) ~= ARGV[3] or not is(ARGV[4]) then return 0 end
return set('status', 'exchanging', 'since', seconds(now), 'attempts', ARGV[5], 'actor', ARGV[6], 'cause', '')
"""

_WRITE: Final = """
local generation, status = stored('generation') or '0', stored('status')
if generation ~= ARGV[3] or (status == 'removed' and ARGV[8] == '0') then return 0 end
local words, kept, roots, others = {}, {}, 0, 0
for word in string.gmatch((stored('lineage') or '') .. ' ' .. ARGV[6], '%S+') do words[#words + 1] = word end
for place = #words, 1, -1 do
  local is_root = string.sub(words[place], 1, 1) == '='
  if is_root then roots = roots + 1 else others = others + 1 end
  if (is_root and roots or others) <= tonumber(ARGV[9]) then table.insert(kept, 1, words[place]) end
end
local lineage = table.concat(kept, ' ')
if redis.call('GET', lease) == ARGV[10] then redis.call('DEL', lease) end
redis.call('SADD', slots, slot)
return set('generation', ARGV[4], 'status', 'usable', 'born_at', seconds(now - ARGV[5]), 'since', seconds(now), 'attempts', 0,
  'actor', '', 'cause', '', 'lineage', lineage, 'payload', ARGV[7])
"""

_MARK: Final = """
if not is(ARGV[3]) then return 0 end
return set('status', ARGV[4], 'since', seconds(now), 'cause', ARGV[5], 'attempts', ARGV[6])
"""

_RESEAL: Final = """
if stored('revision') ~= ARGV[3] then return 0 end
return set('payload', ARGV[4])
"""

_REMOVE: Final = """
local generation = stored('generation')
if not generation or stored('status') == 'removed' then return 0 end
redis.call('SREM', slots, slot)
return set('generation', string.format('%d', generation + 1), 'status', 'removed', 'since', seconds(now), 'actor', '', 'cause', '',
  'lineage', '', 'payload', '')
"""

_ABSENT: Final = (OSError, asyncio.TimeoutError, exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError,
                  exceptions.TryAgainError, exceptions.MasterDownError)  # fmt: skip


class RedisStore(TokenStore):
    """See the module. `url` is one of redis-py; every key begins with `prefix`. `timeout` limits each call, in seconds."""

    poll = policy.STORE_POLL_ANNOUNCED

    def __init__(self, url: str, *, prefix: str = DEFAULT_PREFIX, timeout: float = policy.STORE_TIMEOUT, **options: Any) -> None:
        super().__init__(**options)
        self._url = url
        self._place = redact_url(url)
        self._prefix = prefix
        self._timeout = timeout
        self._client: aioredis.Redis | None = None
        self._scripts: dict[str, Any] = {}
        self._waits_for_disk = False
        self._opening = asyncio.Lock()
        self._tasks = TaskOwner()

    @property
    def _channel(self) -> str:
        return f"{self._prefix}changes"

    async def aclose(self) -> None:
        """Close the connections; a later call opens them again."""
        await super().aclose()
        await self._tasks.aclose()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # --- connecting ------------------------------------------------------------------------------------------------------------------

    def _connect(self, **options: Any) -> aioredis.Redis:
        """A client that repeats a call once when its connection turns out to be gone: every script may run twice."""
        again = Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))
        return aioredis.Redis.from_url(self._url, socket_connect_timeout=self._timeout, retry=again, retry_on_error=[], **options)

    async def _open(self) -> aioredis.Redis:
        async with self._opening:
            if self._client is None:
                try:
                    client = self._connect(socket_timeout=self._timeout)
                    try:
                        await self._prepare(client)
                    except BaseException:
                        await client.aclose()
                        raise
                except (TypeError, ValueError):  # of redis-py, which reads the URL now; its text may quote it
                    raise ConfigurationError(
                        f"the token store {self._place} has a URL that cannot be read: check its host, port and options"
                    ) from None
                self._client = client
                self._tasks.spawn(self._listen(), name="announcements of the token store")
            return self._client

    async def _prepare(self, client: aioredis.Redis) -> None:
        """Check the layout's version and the server's promises."""
        execute: Any = client.execute_command
        await execute("SET", f"{self._prefix}version", VERSION, "NX")
        version = _text(await execute("GET", f"{self._prefix}version"))
        if not version.isdecimal():
            raise StoreUnusable(f"{self._prefix}version in {self._place} is another program's: name another prefix; nothing was changed")
        if int(version) > VERSION:
            raise too_new(self._place, int(version), VERSION)
        try:
            settings = {name: await self._setting(execute, name) for name in ("appendonly", "appendfsync", "maxmemory-policy")}
        except exceptions.ResponseError:
            _log.warning("%s: whether this Redis server keeps what it is told cannot be seen (CONFIG GET is not allowed)", self._place)
            return
        if settings["appendonly"] == "no":
            _log.warning("%s: this Redis server has no append-only file and forgets tokens at a restart: set appendonly yes", self._place)
        elif settings["appendfsync"] != "always":
            everysec = settings["appendfsync"] == "everysec"
            self._waits_for_disk = everysec and await self._knows(execute, "WAITAOF")
            if not self._waits_for_disk:
                loss = "the last two seconds" if everysec else "the last half minute"
                _log.warning("%s: this Redis server may forget %s of what it was told: set appendfsync always", self._place, loss)
        if settings["maxmemory-policy"] not in ("noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"):
            _log.warning("%s: this Redis server may evict tokens: set maxmemory-policy noeviction", self._place)

    async def _setting(self, execute: Any, name: str) -> str:
        found = await execute("CONFIG GET", name)
        pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        return next((_text(value) for value in pairs.values()), "")

    async def _knows(self, execute: Any, command: str) -> bool:
        (found,) = await execute("COMMAND INFO", command) or (None,)
        return bool(found)

    async def _listen(self) -> None:
        """Pass announcements on for as long as the store is open."""
        while True:
            client = self._connect(socket_timeout=None)
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as announcements:
                    await announcements.subscribe(self._channel)
                    self._announce()  # what was said before
                    async for message in announcements.listen():
                        self._announce(_text(message["data"]))
            except (exceptions.RedisError, *_ABSENT) as error:
                _log.debug("%s: changes are not announced for now: %s", self._place, type(error).__name__)
            finally:
                await client.aclose()
            await sleep(SYSTEM_CLOCK, policy.STORE_POLL)

    def _translated(self, error: Exception) -> StoreError:
        kind, said = type(error).__name__, str(error)
        if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)):
            remedy = "check user, password and the rights of the user"
        elif isinstance(error, _ABSENT):
            return StoreUnreachable(
                f"the token store {self._place} cannot be reached ({kind}): see that it runs there; nothing was changed"
            )
        elif isinstance(error, exceptions.ReadOnlyError):
            remedy = "the server is a replica: name the primary"
        elif isinstance(error, exceptions.OutOfMemoryError) or said.startswith("OOM"):
            remedy = "the server's memory is full: make room"
        elif said.startswith("MISCONF"):
            remedy = "the server cannot write to its disk: make room"
        else:
            remedy = "check the server"
        return StoreUnusable(f"the token store {self._place} cannot be used ({kind}): {remedy}; nothing was changed")

    # --- statements ------------------------------------------------------------------------------------------------------------------

    async def _run(self, script: str, key: str, *values: object) -> Any:
        try:
            client = self._client or await self._open()
            if script not in self._scripts:
                self._scripts[script] = client.register_script(_COMMON + script)
            keys = [f"{self._prefix}grant:{key}", f"{self._prefix}lease:{key}", f"{self._prefix}slots"]
            with _no_swallowed_cancellation():
                return await self._scripts[script](keys=keys, args=[self._channel, key, *values], client=client)
        except (exceptions.RedisError, *_ABSENT) as error:
            raise self._translated(error) from error

    async def _change(self, script: str, key: str, *values: object) -> bool:
        changed = bool(await self._run(script, key, *values))
        if changed and self._waits_for_disk:
            await self._wait_for_disk()
        return changed

    async def _wait_for_disk(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            execute: Any = client.execute_command
            on_disk, _ = await execute("WAITAOF", 1, 0, int(self._timeout * 500))
        except (exceptions.RedisError, *_ABSENT) as error:
            raise self._translated(error) from error
        if not on_disk:
            raise StoreUnreachable(f"the token store {self._place} took a change and did not bring it to the disk in time; try again")

    async def _read(self, key: str) -> Row | None:
        fields = await self._run(_READ, key)
        if not fields:
            return None
        generation, revision, status, attempts, actor, cause, lineage, payload, age, since = fields
        return Row(
            generation=int(generation),
            revision=int(revision),
            status=_text(status),
            age=float(age),
            since=float(since),
            attempts=int(attempts),
            by=_text(actor),
            cause=_text(cause),
            lineage=_text(lineage),
            payload=bytes(payload),
        )

    async def _revision(self, key: str) -> int:
        return int(await self._run("return stored('status') ~= 'removed' and stored('revision') or '0'", key))

    async def _keys(self) -> list[str]:
        return [_text(key) for key in await self._run("return redis.call('SMEMBERS', slots)", "")]

    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        current = await self._run(_TAKE, key, lease, _milliseconds(ttl), instead_of)
        return None if current is None else _text(current)

    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        return bool(await self._run(_EXTEND, key, lease, _milliseconds(ttl)))

    async def _release(self, key: str, lease: str) -> None:
        await self._run(_RELEASE, key, lease)

    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        return await self._change(_NOTE, key, lease, generation, attempts, by)

    async def _write(self, key: str, write: Write) -> bool:
        numbers = (write.expected, write.generation, write.held)
        return await self._change(_WRITE, key, *numbers, write.lineage, write.payload, int(write.revives), policy.LINEAGE, write.lease)

    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        return await self._change(_MARK, key, generation, status, cause, attempts)

    async def _reseal(self, key: str, revision: int, payload: bytes) -> bool:
        return await self._change(_RESEAL, key, revision, payload)

    async def _remove(self, key: str) -> bool:
        return await self._change(_REMOVE, key)


@contextmanager
def _no_swallowed_cancellation() -> Iterator[None]:
    """Raise the cancellation that came meanwhile: redis-py waits with `asyncio.wait_for`, which Python 3.11 lets swallow one."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
