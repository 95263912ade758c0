"""The user's signing keys: files that only their owner can read, made that way from their first moment."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.files import locked, write_whole
from balance_core.signing import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_KEY = "default"
"""The name of the key that is made when one is first needed."""
_MAX_KEY_BYTES = 4096
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class KeyStore:
    """A folder (mode 0700) of private keys (mode 0600), one PKCS #8 file each; any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> tuple[str, ...]:
        """Return the names of all keys, sorted."""
        found = (path.name.removesuffix(".key") for path in self.folder.glob("*.key"))
        return tuple(sorted(name for name in found if _NAME.fullmatch(name)))

    def create(self, name: str) -> SigningKey:
        """Make a key; raises ConfigError if there is one of this name."""
        path = self._path(name)
        self._prepare()
        with locked(self.folder / ".lock"):
            if path.exists():
                raise ConfigError(
                    f"there is a key {name!r} already", hint="choose another name; keys are never replaced"
                )
            return self._make(path)

    def load(self, name: str) -> SigningKey:
        """Read a key; raises ConfigError if it is missing, damaged, or readable by anybody else."""
        path = self._path(name)
        try:
            data = self._read(path, name)
        except FileNotFoundError:
            known = ", ".join(self.names())
            raise ConfigError(
                f"there is no key {name!r} in {str(self.folder)!r}",
                hint=f"known keys: {known}" if known else f"balance keys new {name}",
            ) from None
        except OSError as error:
            raise ConfigError(f"key {name!r} cannot be read: {error.strerror}", hint=f"see {path}") from error
        try:
            return SigningKey.from_pem(data)
        except ConfigError as error:
            raise ConfigError(
                f"key {name!r} is damaged: {error.message}", hint=f"restore {path} from a copy"
            ) from None

    def _read(self, path: Path, name: str) -> bytes:
        """Read the file after looking at the rights of what was opened, so that nothing is swapped in between."""
        self._refuse_shared_folder()
        # Without waiting for the other end, should somebody have put a pipe there.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"key {name!r} is not a file", hint=f"see {path}")
            if mode & 0o077:
                raise ConfigError(f"key {name!r} can be read by other users", hint=f"chmod 600 {path}")
            return os.read(handle, _MAX_KEY_BYTES)
        finally:
            os.close(handle)

    def public(self, name: str) -> str:
        """Return the public half of a key, 32 bytes as hex."""
        return self.load(name).public

    def default(self) -> SigningKey:
        """Return the default key; the first call makes it, and all processes get the same one."""
        path = self._path(DEFAULT_KEY)
        if not path.exists():
            self._prepare()
            with locked(self.folder / ".lock"):
                if not path.exists():
                    return self._make(path)
        return self.load(DEFAULT_KEY)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name[:80]!r} is not a name for a key", hint="small letters, digits, '.', '_' and '-'"
            )
        return self.folder / f"{name}.key"

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"the folder of keys {str(self.folder)!r} cannot be made: {error.strerror}", hint="check BALANCE_HOME"
            ) from error
        self._refuse_shared_folder()

    def _refuse_shared_folder(self) -> None:
        """Refuse a folder in which somebody else could put a key of his own in place of the user's."""
        if self.folder.stat().st_mode & 0o022:
            raise ConfigError(
                f"the folder of keys {str(self.folder)!r} can be written by other users",
                hint=f"chmod 700 {self.folder}",
            )

    def _make(self, path: Path) -> SigningKey:
        """Write a new key; the caller holds the lock, under which what a killed process left is of no use."""
        for partial in self.folder.glob(".partial-*"):
            partial.unlink(missing_ok=True)
        key = SigningKey.generate()
        try:
            write_whole(path, key.to_pem(), mode=0o600)
        except OSError as error:
            raise ConfigError(
                f"a key cannot be written to {str(self.folder)!r}: {error.strerror}",
                hint="check space and permissions",
            ) from error
        return key
