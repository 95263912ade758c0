"""Sealing the inputs that wait: whoever gets hold of the database alone learns nothing of them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from balance_core.errors import ConfigError, StorageError
from balance_core.files import locked, write_whole

if TYPE_CHECKING:
    from pathlib import Path

_KEY_BYTES = 32
_NONCE_BYTES = 12  # random for each row: good for 2^32 rows under one key (NIST SP 800-38D, 8.3)
_DOMAIN = b"balance/inputs/1/"
BLIND_BYTES = 32
_BLINDED = b"\x01"
"""In front of a blind; `arrays.pack` begins with a length of four bytes, of which the first is zero."""


def joined(packed: bytes, blind: bytes | None) -> bytes:
    """Return a packed request, with what hides it in a proof if the client gave that."""
    return packed if blind is None else _BLINDED + blind + packed


def parted(data: bytes) -> tuple[bytes, bytes | None]:
    """Return what `joined` put together."""
    if not data.startswith(_BLINDED):
        return data, None
    start = len(_BLINDED) + BLIND_BYTES
    return data[start:], data[len(_BLINDED) : start]


class Sealed(NamedTuple):
    """What is kept: a nonce of its own, and the sealed bytes with their tag."""

    nonce: bytes
    data: bytes


class Vault:
    """AES-256-GCM under the key of one file (mode 0600), which the first use makes; the row's id is authenticated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cipher = AESGCM(_key(path))

    def seal(self, row: str, data: bytes) -> Sealed:
        """Seal bytes so that they open as this row only."""
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(nonce, self._cipher.encrypt(nonce, data, _DOMAIN + row.encode()))

    def open(self, row: str, sealed: Sealed) -> bytes:
        """Return what was sealed; raises StorageError where row, key or bytes are others."""
        try:
            return self._cipher.decrypt(sealed.nonce, sealed.data, _DOMAIN + row.encode())
        except (InvalidTag, ValueError) as error:
            raise StorageError(
                f"the inputs of job {row} cannot be opened: they were altered, or sealed with another key",
                hint=f"restore {self.path} from a copy",
            ) from error


def _key(path: Path) -> bytes:
    """Read the key, or make it; raises ConfigError if it is damaged or others can read it."""
    try:
        if not path.exists():
            with locked(path.with_name(f".{path.name}.lock")):
                if not path.exists():
                    write_whole(path, os.urandom(_KEY_BYTES), mode=0o600)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(handle).st_mode
            data = os.read(handle, _KEY_BYTES + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise ConfigError(f"the key of the queue {str(path)!r} cannot be used: {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(f"the key of the queue {str(path)!r} can be read by other users", hint=f"chmod 600 {path}")
    if len(data) != _KEY_BYTES:
        raise ConfigError(f"the key of the queue {str(path)!r} is damaged", hint="restore it from a copy")
    return data
