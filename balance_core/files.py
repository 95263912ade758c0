"""Files that are whole or absent, and locks that die with their process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


_PARTIAL = ".partial-"


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old content or the new, never a part.

    What a killed process left of its own attempt is removed by the next write to the same folder.
    """
    with whole_file(path, mode=mode) as stream:
        stream.write(data)


@contextlib.contextmanager
def whole_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Lend a stream whose content becomes the file as `write_whole` says, or is dropped if an error comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    partial, handle = _partial(path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _partial(folder: Path) -> tuple[Path, int]:
    """Make a file that is locked as long as its process lives, which tells it from a dead one's."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else it was swept before it could be locked
            return Path(name), handle
        os.close(handle)


def _sweep(folder: Path) -> None:
    for partial in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError), partial.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def write_output(path: Path, data: bytes) -> None:
    """Write a file where the user asked for it; raises ConfigError where that cannot be."""
    with output_file(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Lend a stream that becomes the file that the user asked for, whole; raises ConfigError where that cannot be."""
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {str(path.parent)!r}", hint="make it first, or choose another")
    try:
        with whole_file(path) as stream:
            yield stream
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
