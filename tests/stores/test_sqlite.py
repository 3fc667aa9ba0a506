"""The file: who may read it, what becomes of it when it is damaged, foreign, locked, moved away, or when the disk is full."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stores.test_contract import SLOT, leased, loaded, token
from tradesession.clock import ManualClock
from tradesession.errors import StoreUnreachable, StoreUnusable
from tradesession.tokens.stores.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tradesession" / "tokens.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path) as store:
        yield store


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def filled(path: Path) -> bytes:
    """A closed store with one token; its bytes."""
    async with SqliteStore(path) as store:
        await store.commit(SLOT, token(1, 1), 0)
    return path.read_bytes()


async def test_only_the_owner_may_read_what_is_made(path: Path) -> None:
    before = os.umask(0)
    try:
        async with SqliteStore(path) as store:
            await store.commit(SLOT, token(1, 1), 0)
            files = sorted(path.parent.iterdir())
            assert [file.name for file in files] == ["tokens.db", "tokens.db-shm", "tokens.db-wal"]
            assert {mode(file) for file in files} == {0o600}
            assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize(("loose", "who"), [(0o644, "others"), (0o640, "its group"), (0o604, "others")])
async def test_a_file_that_others_may_read_is_refused_and_not_touched(path: Path, loose: int, who: str) -> None:
    before = await filled(path)
    path.chmod(loose)
    with pytest.raises(StoreUnusable, match=f"has mode {loose:04o}, so {who} may read it: chmod 600 .*; nothing was changed"):
        await SqliteStore(path).load(SLOT)
    assert (path.read_bytes(), mode(path)) == (before, loose)


async def test_a_log_that_others_may_read_is_refused(store: SqliteStore, path: Path) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    Path(f"{path}-wal").chmod(0o644)
    with pytest.raises(StoreUnusable, match=r"tokens.db-wal has mode 0644"):
        await SqliteStore(path).load(SLOT)


@pytest.mark.parametrize("damage", [lambda old: b"not a database" * 100, lambda old: old[:100] + b"\xff" * (len(old) - 100)])
async def test_a_damaged_file_is_refused_and_not_touched(path: Path, damage: object) -> None:
    damaged = damage(await filled(path))  # type: ignore[operator]
    path.write_bytes(damaged)
    with pytest.raises(StoreUnusable, match="it is damaged, or no token store: restore it from a backup, or move it away and log in again"):
        await SqliteStore(path).load(SLOT)
    with pytest.raises(StoreUnusable):
        await SqliteStore(path).commit(SLOT, token(2, 2), 1)
    assert path.read_bytes() == damaged


async def test_the_database_of_another_program_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cookies (value TEXT)")
    connection.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="is the database of another program; name another path; nothing was changed"):
        await SqliteStore(path).load(SLOT)
    assert path.read_bytes() == before


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(StoreUnusable, match="is no file; name another path"):
        await SqliteStore(tmp_path).load(SLOT)


async def test_a_path_below_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match=r"cannot be used \(File exists\): check the path"):
        await SqliteStore(tmp_path / "file" / "tokens.db").load(SLOT)


async def test_a_full_database_loses_nothing(store: SqliteStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)

    def limit() -> None:
        connection = store._database._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count=1")

    await store._run(limit)
    with pytest.raises(StoreUnusable, match="the disk is full, or fails: make room; nothing was changed"):
        await store.commit(SLOT, token(2, 2, scope="x" * 100_000), 1)
    assert (await loaded(store)).token == token(1, 1)


FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from tests.stores.test_contract import SLOT, token
from tradesession.errors import StoreUnusable
from tradesession.tokens.stores.sqlite import SqliteStore

async def main() -> None:
    path = Path(sys.argv[1])
    async with SqliteStore(path) as store:
        await store.commit(SLOT, token(1, 1), 0)
        size = Path(f"{path}-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, LIMITS[1]))
        try:
            await store.commit(SLOT, token(2, 2, scope="x" * 50_000), 1)
        except StoreUnusable as error:
            print("refused:", error)
        grant = await store.load(SLOT)
        assert grant is not None and grant.token == token(1, 1)

LIMITS = resource.getrlimit(resource.RLIMIT_FSIZE)
asyncio.run(main())
resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)  # what is written at the exit, such as what a tracer has seen, is to be whole
"""


async def test_a_disk_that_takes_no_more_loses_nothing(path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "refused: the token store" in done.stdout
    assert "make room; nothing was changed" in done.stdout
    async with SqliteStore(path) as store:
        assert (await loaded(store)).token == token(1, 1)
        await store.commit(SLOT, token(2, 2), 1)


async def test_a_read_only_file_system_is_named(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.commit(SLOT, token(1, 1), 0)

        def forbid() -> None:
            connection = store._database._connection
            assert connection is not None
            connection.execute("PRAGMA query_only=ON")

        await store._run(forbid)
        with pytest.raises(StoreUnusable, match="check who may write it"):
            await store.commit(SLOT, token(2, 2), 1)
        assert (await loaded(store)).token == token(1, 1)


async def test_a_file_that_somebody_locks_for_long_is_unreachable(path: Path) -> None:
    async with SqliteStore(path, timeout=0.01) as store:
        await store.commit(SLOT, token(1, 1), 0)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnreachable, match="was locked by another process for too long"):
            await store.commit(SLOT, token(2, 2), 1)
        assert (await loaded(store)).token == token(1, 1)
        other.execute("ROLLBACK")
        other.close()
        await store.commit(SLOT, token(2, 2), 1)
        assert (await loaded(store)).token == token(2, 2)


async def test_a_file_that_was_moved_away_is_not_written_any_more(store: SqliteStore, path: Path) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    shutil.move(path, path.with_suffix(".old"))
    assert await store.load(SLOT) is None
    await store.commit(SLOT, token(5, 5), 0)
    async with SqliteStore(path) as other:
        assert (await loaded(other)).token == token(5, 5)


async def test_writes_reach_the_disk_before_they_return(store: SqliteStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)

    def settings() -> tuple[str, int]:
        connection = store._database._connection
        assert connection is not None
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        return journal, synchronous

    assert await store._run(settings) == ("wal", 2)


async def test_a_removed_token_is_gone_from_the_disk(store: SqliteStore, path: Path) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    await store.remove(SLOT)
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert b"refresh-1" not in content, file.name
        assert b"access-1" not in content, file.name


BEHIND_A_FORK = """
import asyncio, os, sys
from pathlib import Path
from tests.stores.test_contract import SLOT
from tradesession.tokens.stores.sqlite import SqliteStore

async def hold(store: SqliteStore) -> None:
    lease = await store.lease(SLOT, 600)
    print(lease is not None and f"/{os.getpid()}/" in lease.id, flush=True)

store = SqliteStore(Path(sys.argv[1]))
if child := os.fork():
    os.waitpid(child, 0)
else:
    asyncio.run(hold(store))
    os._exit(0)  # what runs at an exit, such as a tracer's, is the parent's
"""


async def test_a_store_made_before_a_fork_holds_its_leases_in_the_name_of_the_process_behind_it(path: Path) -> None:
    """A daemon's first process ends: were the lease in its name, it would be taken for abandoned, and the token exchanged twice."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", BEHIND_A_FORK, str(path)], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


async def test_a_lease_from_the_future_has_ended(path: Path) -> None:
    """The clock of the machine was set back: a lease must not last until it has caught up."""
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as one, SqliteStore(path, clock=clock) as other:
        await leased(one, ttl=15)
        assert await other.lease(SLOT, 15) is None
        clock.wall_offset -= 3600
        assert await other.lease(SLOT, 15) is not None


async def test_opening_by_many_at_once_makes_one_store(path: Path) -> None:
    """Eight processes start at the same moment on a machine that has no store yet."""
    program = (
        "import asyncio, sys; from pathlib import Path; from tradesession.tokens.stores.sqlite import SqliteStore\n"
        "async def main():\n async with SqliteStore(Path(sys.argv[1])) as store: print(len(await store.slots()))\n"
        "asyncio.run(main())"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["0\n"] * 4
    assert [process.returncode for process in processes] == [0] * 4


@pytest.mark.parametrize(
    "change", ["status = 'of a later version'", "payload = 'text'", "born_at = 'once'", "generation = 9223372036854775807"]
)
async def test_a_row_that_makes_no_sense_is_told_and_locks_nobody_out(path: Path, change: str) -> None:
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE grants SET {change}")
    connection.close()
    async with SqliteStore(path) as store, SqliteStore(path, timeout=0.0) as another:
        with pytest.raises(StoreUnusable):
            await store.put(SLOT, token(2), force=True)
        assert await another.remove(SLOT)
