"""Encryption of what rests in a token store: AES-256-GCM, with slot and generation bound in, so that records cannot be swapped.

Works with every engine, as a Codec. Whoever can read the store, but not the key, learns which slots there are, when they were renewed
and eight hexadecimal digits of a hash of each token, and nothing of the tokens; whoever can write it cannot plant a token of his own.
Keys are given as a list: the first one seals, all of them open, so a key is changed by putting the new one in front, calling
`TokenStore.reseal`, and taking the old one away. Needs the extra `encryption`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tradesession.errors import ConfigurationError, StoreUnusable
from tradesession.extras import missing
from tradesession.secrets import Secret
from tradesession.tokens.codec import PLAIN, SEALED, Codec
from tradesession.tokens.token import Slot, Token

KEY_VARIABLE: Final = "TRADESESSION_STORE_KEY"
"""The environment variable with the keys; see `read_keys` for what it may hold."""

PLAINTEXT: Final = "plain"
"""A word in place of a key: records that are not encrypted. Last in the list, it lets old ones be read; first, it ends encryption."""

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEADER: Final = len(SEALED) + _ID_BYTES


def generate_key() -> Secret:
    """A fresh key, as text: 32 random bytes in URL-safe base64."""
    return Secret(base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode())


def read_keys(text: str) -> list[Secret]:
    """The keys that a text names, separated by commas or white space.

    Each is a key itself, `file:PATH` (a file of mode 0600 that holds keys in the same way), `keyring:SERVICE/NAME` (an entry of the
    operating system's keyring, by the extra `keyring`), or `plain`. Raises ConfigurationError, without quoting what it found.
    """
    keys: list[Secret] = []
    for word in text.replace(",", " ").split():
        if word.startswith("file:"):
            keys += read_keys(_read_file(Path(word.removeprefix("file:")).expanduser()))
        elif word.startswith("keyring:"):
            keys += read_keys(_read_keyring(word.removeprefix("keyring:")))
        else:
            keys.append(Secret(word))
    return keys


def codec_from_environment(environ: Mapping[str, str] = os.environ) -> Codec:
    """The codec of the keys in TRADESESSION_STORE_KEY; the plain one when it is not set."""
    text = environ.get(KEY_VARIABLE, "")
    return SealingCodec(read_keys(text)) if text.strip() else PLAIN


class SealingCodec:
    """Seals with the first key, opens with any of them. `random` gives that many random bytes."""

    def __init__(self, keys: Sequence[Secret | str], *, random: Callable[[int], bytes] = os.urandom) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ModuleNotFoundError as error:
            raise missing("encryption", "encryption", "cryptography", error) from error
        words = [Secret(key).reveal() for key in keys]
        if not words:
            raise ConfigurationError("no key for the token store was given; make one with tradesession.tokens.encryption.generate_key()")
        self._invalid = InvalidTag
        self._random = random
        self._ciphers = {_key_id(raw): AESGCM(raw) for raw in map(_key_bytes, (word for word in words if word != PLAINTEXT))}
        self._sealing = None if words[0] == PLAINTEXT else _key_id(_key_bytes(words[0]))
        self._opens_plain = PLAINTEXT in words

    def encode(self, slot: Slot, token: Token) -> bytes:
        """See Codec."""
        plain = PLAIN.encode(slot, token)
        if self._sealing is None:
            return plain
        nonce = self._random(_NONCE_BYTES)
        return SEALED + self._sealing + nonce + self._ciphers[self._sealing].encrypt(nonce, plain, _bound(slot, token.generation))

    def decode(self, slot: Slot, generation: int, payload: bytes) -> Token:
        """See Codec."""
        return PLAIN.decode(slot, generation, self._open(slot, generation, payload))

    def _open(self, slot: Slot, generation: int, payload: bytes) -> bytes:
        if not payload.startswith(SEALED):
            if self._opens_plain:
                return payload
            remedy = f"add the word {PLAINTEXT} behind the key until it was sealed"
            raise StoreUnusable(f"what the store holds for {slot} is not encrypted, or damaged: {remedy}; nothing was changed")
        key_id = payload[len(SEALED) : _HEADER]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            ours = ", ".join(known.hex() for known in self._ciphers) or "none"
            flaw = f"is encrypted with the key of id {key_id.hex()}, and the given keys have {ours}: give the right one"
            raise StoreUnusable(f"what the store holds for {slot} {flaw}; nothing was changed")
        nonce, sealed = payload[_HEADER : _HEADER + _NONCE_BYTES], payload[_HEADER + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, _bound(slot, generation))
        except (self._invalid, ValueError):
            remedy = "restore the store, or remove the token (`tradesession tokens remove`) and log in again"
            flaw = f"was damaged or tampered with, or belongs to another slot: {remedy}"
            raise StoreUnusable(f"what the store holds for {slot} {flaw}; nothing was changed") from None


def _bound(slot: Slot, generation: int) -> bytes:
    return f"tradesession token 1 {slot.key} {generation}".encode()


def _key_id(raw: bytes) -> bytes:
    return hashlib.sha256(b"tradesession key id" + raw).digest()[:_ID_BYTES]


def _key_bytes(word: str) -> bytes:
    try:
        raw = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        remedy = "make one with tradesession.tokens.encryption.generate_key()"
        raise ConfigurationError(f"a key for the token store is not {_KEY_BYTES} bytes in URL-safe base64: {remedy}")
    return raw


def _read_file(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigurationError(f"the key file {path} has mode {mode:04o}, so others may read it: chmod 600 {path}")
            return "".join(_lines(file))
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {path} holds something else than keys in base64") from None


def _lines(file: Iterator[str]) -> Iterator[str]:
    """Without comments, and without names of further files: keys alone may stand there."""
    for line in file:
        text = line.partition("#")[0]
        if ":" in text:
            raise ConfigurationError("a key file holds something else than keys in base64")
        yield text + "\n"


def _read_keyring(entry: str) -> str:
    service, _, name = entry.partition("/")
    if not service or not name:
        raise ConfigurationError("a keyring key is named keyring:SERVICE/NAME")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError as error:
        raise missing("a key in the keyring", "keyring", "keyring", error) from error
    try:
        key = keyring.get_password(service, name)
    except KeyringError as error:
        raise ConfigurationError(f"the keyring cannot be read ({type(error).__name__}): unlock it, or keep the key in a file") from error
    if not key or ":" in key:
        raise ConfigurationError(
            f"the keyring has no key of service {service}, name {name}; put one there with `keyring set {service} {name}`"
        )
    return key
