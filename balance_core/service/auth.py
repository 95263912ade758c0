"""API keys: who may ask for what. A key is shown once, when it is made; what is kept of it does not open anything."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import threading
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from balance_core.errors import ConfigError
from balance_core.files import locked, read_limited, write_whole
from balance_core.records import Digest, Record
from balance_core.service.receipts import Time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY = re.compile(r"balance_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_MAX_FILE_BYTES = 2**22
_NOBODY = hashlib.sha256(b"").hexdigest()


class Scope(StrEnum):
    """What a key is good for."""

    INFER = "infer"
    """Ask for answers, and read receipts, registrations and bundles."""
    PROVE = "prove"
    """Ask for proofs, and follow and cancel them."""
    AUDIT = "audit"
    """Open audits."""
    VERIFY = "verify"
    """Have bundles verified."""
    OPERATE = "operate"
    """Read metrics."""


class ApiKey(Record):
    """A key as it is kept: its public id, and the hash of its secret."""

    kind: ClassVar[str] = "api-key"
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    secret_sha256: Digest
    """Of 32 random bytes, which nobody guesses: a slow hash would protect them no better."""
    scopes: tuple[Scope, ...]
    created: Time
    expires: Time | None = None
    revoked: bool = False


class ApiKeys(Record):
    """All keys of a service, as its file holds them."""

    kind: ClassVar[str] = "api-keys"
    keys: tuple[ApiKey, ...] = ()


class KeyRing:
    """The keys in one file (mode 0600), read again when it has changed: what is revoked is refused at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, ApiKey] = {}

    def create(self, name: str, scopes: tuple[Scope, ...], *, days: float | None = None) -> tuple[str, ApiKey]:
        """Make a key; returns its text, which is kept nowhere, and what is kept."""
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        expires = None if days is None else _time(datetime.now(UTC) + timedelta(days=days))
        key = ApiKey.from_value(
            {
                "key_id": key_id,
                "name": name,
                "secret_sha256": _hash(secret),
                "scopes": sorted(set(scopes)),
                "created": _time(datetime.now(UTC)),
                "expires": expires,
            }
        )
        with self._changing() as keys:
            keys[key_id] = key
        return f"balance_{key_id}_{secret}", key

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key useless; raises ConfigError for an unknown one."""
        with self._changing() as keys:
            if key_id not in keys:
                raise ConfigError(f"there is no API key {key_id[:64]!r}", hint="`balance api-keys list` shows them")
            keys[key_id] = keys[key_id].model_copy(update={"revoked": True})
            return keys[key_id]

    def keys(self) -> tuple[ApiKey, ...]:
        """Return all keys, oldest first."""
        self._refresh()
        return tuple(sorted(self._known.values(), key=lambda key: (key.created, key.key_id)))

    def check(self, text: str) -> ApiKey | None:
        """Return the key that a text is; None for any other, in the same time whatever is wrong with it."""
        self._refresh()
        found = _KEY.fullmatch(text)
        key_id, secret = (found[1], found[2]) if found else ("", "")
        key = self._known.get(key_id)
        same = hmac.compare_digest(_hash(secret), key.secret_sha256 if key else _NOBODY)
        if key is None or not same or key.revoked:
            return None
        return None if key.expires is not None and key.expires <= _time(datetime.now(UTC)) else key

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._known, self._stamp = {}, None
            return
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        if status.st_mode & 0o077:
            raise ConfigError(
                f"the API keys {str(self.path)!r} can be read by other users", hint=f"chmod 600 {self.path}"
            )
        with self._lock:
            data = read_limited(self.path, max_size=_MAX_FILE_BYTES, what="file of API keys")
            self._known = {key.key_id: key for key in ApiKeys.from_json(data).keys}
            self._stamp = stamp

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, ApiKey]]:
        """Lend the keys by id while nobody else changes them, and write what became of them."""
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            self._refresh()
            keys = dict(self._known)
            yield keys
            content = ApiKeys(keys=tuple(keys[key_id] for key_id in sorted(keys)))
            write_whole(self.path, content.to_json(), mode=0o600)


def _hash(secret: str) -> str:
    return hashlib.sha256(b"balance/api-key/1:" + secret.encode()).hexdigest()


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
