"""What rests is sealed, bound to its place, and opened by the right key alone."""

import sys
from pathlib import Path

import pytest

from tests.stores.engines import Engine
from tests.stores.test_contract import OTHER, SLOT, loaded, token
from tradesession.errors import ConfigurationError, StoreUnusable
from tradesession.secrets import Secret
from tradesession.tokens.codec import PLAIN
from tradesession.tokens.encryption import SealingCodec, codec_from_environment, generate_key, read_keys
from tradesession.tokens.stores import open_store
from tradesession.tokens.stores.sqlite import SqliteStore

OLD, NEW = generate_key(), generate_key()


async def test_every_engine_keeps_sealed_tokens(engine: Engine) -> None:
    async with engine.open(codec=SealingCodec([OLD])) as store:
        await store.put(SLOT, token(1))
        assert (await loaded(store)).token == token(1, 1)
        row = await store._read(SLOT.key)
        assert row is not None
        assert b"access-1" not in row.payload
        assert b"refresh-1" not in row.payload


async def test_another_key_opens_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.db"
    async with SqliteStore(path, codec=SealingCodec([OLD])) as store:
        await store.put(SLOT, token(1))
    before = path.read_bytes()
    async with SqliteStore(path, codec=SealingCodec([NEW])) as store:
        with pytest.raises(StoreUnusable, match=r"is encrypted with the key of id [0-9a-f]{8}, and the given keys have [0-9a-f]{8}"):
            await store.load(SLOT)
        with pytest.raises(StoreUnusable):
            await store.put(SLOT, token(2), force=True)
    async with SqliteStore(path) as store:
        with pytest.raises(StoreUnusable, match="is encrypted, and no key was given: set TRADESESSION_STORE_KEY"):
            await store.load(SLOT)
    assert path.read_bytes() == before


async def test_a_key_is_changed_by_resealing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.db"
    async with SqliteStore(path, codec=SealingCodec([OLD])) as store:
        await store.put(SLOT, token(1))
        await store.put(OTHER, token(2))
        await store.remove(OTHER)
    async with SqliteStore(path, codec=SealingCodec([NEW, OLD])) as store:
        assert (await loaded(store)).token == token(1, 1)
        assert await store.reseal() == 1
    async with SqliteStore(path, codec=SealingCodec([NEW])) as store:
        assert (await loaded(store)).token == token(1, 1)


async def test_a_store_is_encrypted_later_and_opened_up_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.db"
    async with SqliteStore(path) as store:
        await store.put(SLOT, token(1))
    async with SqliteStore(path, codec=SealingCodec([NEW])) as store:
        with pytest.raises(StoreUnusable, match="is not encrypted, or damaged: add the word plain behind the key"):
            await store.load(SLOT)
    async with SqliteStore(path, codec=SealingCodec([NEW, "plain"])) as store:
        assert (await loaded(store)).token == token(1, 1)
        await store.reseal()
    async with SqliteStore(path, codec=SealingCodec([NEW])) as store:
        assert (await loaded(store)).token == token(1, 1)
    async with SqliteStore(path, codec=SealingCodec(["plain", NEW])) as store:
        await store.reseal()
    async with SqliteStore(path) as store:
        assert (await loaded(store)).token == token(1, 1)


def test_a_record_belongs_to_its_slot_and_generation() -> None:
    codec = SealingCodec([OLD])
    payload = codec.encode(SLOT, token(1, 3))
    assert codec.decode(SLOT, 3, payload) == token(1, 3)
    for slot, generation in ((OTHER, 3), (SLOT, 4), (SLOT, 2)):
        with pytest.raises(StoreUnusable, match="tampered with, or belongs to another slot"):
            codec.decode(slot, generation, payload)


def test_every_flipped_bit_is_noticed() -> None:
    codec = SealingCodec([OLD])
    payload = codec.encode(SLOT, token(1, 3))
    for position in range(len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 0x40
        with pytest.raises(StoreUnusable):
            codec.decode(SLOT, 3, bytes(damaged))
    for length in range(len(payload)):
        with pytest.raises(StoreUnusable):
            codec.decode(SLOT, 3, payload[:length])


def test_two_seals_of_one_token_differ() -> None:
    codec = SealingCodec([OLD])
    assert codec.encode(SLOT, token(1, 1)) != codec.encode(SLOT, token(1, 1))


def test_keys_come_from_the_variable_a_file_or_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(f"# the new one first\n{NEW.reveal()}\n{OLD.reveal()}\n", encoding="ascii")
    path.chmod(0o600)
    assert read_keys(f"file:{path}") == [NEW, OLD]
    assert read_keys(f"{OLD.reveal()}, plain") == [OLD, Secret("plain")]
    kept = {("tradesession", "store"): NEW.reveal()}
    monkeypatch.setattr("keyring.get_password", lambda service, name: kept.get((service, name)))
    assert read_keys("keyring:tradesession/store") == [NEW]
    with pytest.raises(ConfigurationError, match="the keyring has no key of service tradesession, name other"):
        read_keys("keyring:tradesession/other")
    with pytest.raises(ConfigurationError, match="keyring:SERVICE/NAME"):
        read_keys("keyring:tradesession")


def test_a_locked_keyring_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring.errors import KeyringLocked

    def locked(service: str, name: str) -> str:
        raise KeyringLocked

    monkeypatch.setattr("keyring.get_password", locked)
    with pytest.raises(ConfigurationError, match="KeyringLocked"):
        read_keys("keyring:a/b")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(NEW.reveal(), encoding="ascii")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="has mode 0640, so others may read it: chmod 600"):
        read_keys(f"file:{path}")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_keys(f"file:{tmp_path / 'missing'}")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"file:/etc/passwd", b"keyring:a/b"])
def test_a_key_file_holds_keys_only(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="something else than keys in base64"):
        read_keys(f"file:{path}")


@pytest.mark.parametrize("key", ["short", "x" * 44, "ä" * 43, ""])
def test_a_bad_key_is_refused_without_being_quoted(key: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes in URL-safe base64") as caught:
        SealingCodec([key])
    assert not key or key not in str(caught.value)
    with pytest.raises(ConfigurationError, match="no key for the token store was given"):
        SealingCodec([])


def test_the_environment_switches_encryption_on() -> None:
    assert codec_from_environment({}) is PLAIN
    assert codec_from_environment({"TRADESESSION_STORE_KEY": " "}) is PLAIN
    codec = codec_from_environment({"TRADESESSION_STORE_KEY": OLD.reveal()})
    assert codec.encode(SLOT, token(1, 1))[0] == 1
    store = open_store("sqlite:x.db", environ={"TRADESESSION_STORE_KEY": OLD.reveal()})
    assert store._codec.encode(SLOT, token(1, 1))[0] == 1


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tradesession\[encryption\]'"):
        SealingCodec([OLD])


def test_without_keyring_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tradesession\[keyring\]'"):
        read_keys("keyring:a/b")
