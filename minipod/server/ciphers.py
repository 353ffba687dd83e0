"""The ciphers of encryption at rest, each in the form that upstream's API server stores: `k8s:enc:NAME:v1:KEY:...`.

The store key of a value is authenticated with it where the cipher can: a value that was moved below another key of the
store does not open.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from minipod.store import MARK, Opened, Unopened

_NONCE = 12  # bytes, NIST SP 800-38D's own length
_BLOCK = 16


@dataclass(frozen=True)
class Key:
    """One named key."""

    name: str
    secret: bytes = field(repr=False)


class Provider(Protocol):
    """One way of storing values."""

    def takes(self, stored: bytes) -> bool:
        """Whether a stored value is of this way."""

    def close(self, place: str, value: bytes) -> bytes:
        """Return what is stored."""

    def open(self, place: str, stored: bytes) -> Opened:
        """Return the value of what it takes. Raises Unopened."""


class Identity:
    """Values as they are."""

    def takes(self, stored: bytes) -> bool:
        """Whether a value was not encrypted."""
        return not stored.startswith(MARK)

    def close(self, place: str, value: bytes) -> bytes:
        """Return the value."""
        return value

    def open(self, place: str, stored: bytes) -> Opened:
        """Return the value."""
        return Opened(stored)


class _Keyed:
    """A cipher under several keys: the first one writes, all of them read."""

    name = ""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys
        self._prefix = MARK + f"{self.name}:v1:".encode()

    def takes(self, stored: bytes) -> bool:
        """Whether this cipher wrote a value."""
        return stored.startswith(self._prefix)

    def close(self, place: str, value: bytes) -> bytes:
        """Encrypt with the first key."""
        key = self._keys[0]
        return self._prefix + key.name.encode() + b":" + self._encrypt(key, place, value)

    def open(self, place: str, stored: bytes) -> Opened:
        """Decrypt with the key that the value names. Raises Unopened."""
        rest = stored[len(self._prefix) :]
        failed = ""
        for index, key in enumerate(self._keys):
            prefix = key.name.encode() + b":"
            if not rest.startswith(prefix):
                continue
            try:
                return Opened(self._decrypt(key, place, rest[len(prefix) :]), stale=index > 0)
            except (InvalidTag, ValueError):  # another of the same name may be the right one
                failed = key.name
        if failed:
            raise Unopened(
                f'{self.name} key "{failed}" does not open it: the key or the value was changed'
            )
        name = rest.split(b":", 1)[0].decode(errors="replace")
        raise Unopened(f'it was encrypted with {self.name} key "{name}", which is not configured')

    def _encrypt(self, key: Key, place: str, value: bytes) -> bytes:
        raise NotImplementedError

    def _decrypt(self, key: Key, place: str, data: bytes) -> bytes:
        raise NotImplementedError


class AesGcm(_Keyed):
    """AES-GCM with a random nonce before each value: one key is good for 2^32 writes (SP 800-38D, 8.3)."""

    name = "aesgcm"

    def _encrypt(self, key: Key, place: str, value: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(key.secret).encrypt(nonce, value, place.encode())

    def _decrypt(self, key: Key, place: str, data: bytes) -> bytes:
        return AESGCM(key.secret).decrypt(data[:_NONCE], data[_NONCE:], place.encode())


class AesCbc(_Keyed):
    """AES-CBC with PKCS#7 padding, as upstream has it: it hides a value, and does not authenticate it."""

    name = "aescbc"

    def _encrypt(self, key: Key, place: str, value: bytes) -> bytes:
        vector = os.urandom(_BLOCK)
        padder = PKCS7(_BLOCK * 8).padder()
        padded = padder.update(value) + padder.finalize()
        cipher = Cipher(algorithms.AES(key.secret), modes.CBC(vector)).encryptor()
        return vector + cipher.update(padded) + cipher.finalize()

    def _decrypt(self, key: Key, place: str, data: bytes) -> bytes:
        cipher = Cipher(algorithms.AES(key.secret), modes.CBC(data[:_BLOCK])).decryptor()
        padded = cipher.update(data[_BLOCK:]) + cipher.finalize()
        unpadder = PKCS7(_BLOCK * 8).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
