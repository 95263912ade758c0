"""Files that are whole or absent, and locks that die with their process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_output(path: Path, data: bytes) -> None:
    """Write a file where the user asked for it; raises ConfigError where that cannot be."""
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {str(path.parent)!r}", hint="make it first, or choose another")
    try:
        write_whole(path, data)
    except OSError as error:
        raise ConfigError(
            f"{str(path)!r} cannot be written: {error.strerror}", hint="choose a place that you can write to"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_limited(path: Path, *, max_size: int, what: str) -> bytes:
    """Read a file of at most `max_size` bytes; raises ConfigError that says what is wrong with it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(max_size + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{what} {str(path)!r} does not exist", hint="check the path") from error
    except OSError as error:
        raise ConfigError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > max_size:
        raise ConfigError(f"{what} {str(path)!r} has more than {max_size} bytes")
    return data


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file, which the kernel releases when the process ends, however it ends.

    Yields whether the lock was obtained: always true with `wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
