"""Watches what a plugin's code does outside the folder it was given: files that it writes, addresses that it calls.

Python's audit events tell of everything that goes through the interpreter; what native code does with files shows in
the folders around it, whose content is compared before and after.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS_OF_EVENT: dict[str, tuple[tuple[int, int | None], ...]] = {
    # audit event: positions of a path and of the folder descriptor that it is relative to
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
_CALLING_EVENTS = frozenset(
    ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendmsg", "socket.sendto")
)


class NetworkBlocked(OSError):
    """A plugin that declares no need of a network tried to use one."""


@dataclass
class Watch:
    """What happened while a plugin's code ran."""

    allowed: tuple[Path, ...]
    network: bool
    writes: list[str] = field(default_factory=list)
    """Paths outside the allowed folders that were written, made, renamed or removed."""
    calls: list[str] = field(default_factory=list)
    """Network addresses that were called."""
    paused: bool = False

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Look away while the kit's own code works on the plugin's behalf."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one audit event; a call to the network is stopped."""
        if event in _CALLING_EVENTS:
            self._see_call(event, arguments)
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING_FLAGS and not isinstance(path, int):
                self._see_write(path, None)
        else:
            for position, folder in _PATHS_OF_EVENT.get(event, ()):
                self._see_write(arguments[position], arguments[folder] if folder is not None else None)

    def _see_write(self, path: Any, folder: int | None) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        with self.pause():
            full = Path(os.fsdecode(path))
            if folder is not None and folder >= 0:
                full = Path(f"/proc/self/fd/{folder}").resolve() / full
            full = full.absolute().parent.resolve() / full.name
            inside = any(full.is_relative_to(root) for root in self.allowed)
        # The interpreter itself keeps byte code of what is imported, and devices are no files.
        device = full.is_relative_to("/dev") and not full.is_relative_to("/dev/shm")  # noqa: S108 - as what it is
        if not inside and not device and "__pycache__" not in full.parts:
            self.writes.append(str(full))

    def _see_call(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("socket.get"):
            target: Any = arguments[0]
        else:
            connection, target = arguments[0], arguments[-1]
            if connection.family == getattr(socket, "AF_UNIX", None):
                return
        self.calls.append(f"{event.removeprefix('socket.')} {target}")
        if not self.network:
            raise NetworkBlocked(f"no network here: {target}")


_watches: list[Watch] = []
_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches and not _watches[-1].paused:
        _watches[-1].see(event, arguments)


@contextlib.contextmanager
def watched(allowed: tuple[Path, ...], *, network: bool) -> Iterator[Watch]:
    """Watch the whole process; `allowed` are the folders that may be written to."""
    global _installed  # noqa: PLW0603 - an audit hook cannot be removed, so there is one for the process
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    watch = Watch(tuple(path.resolve() for path in allowed), network)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


@contextlib.contextmanager
def surroundings(cwd: Path, temporary: Path, variables: Mapping[str, str | None]) -> Iterator[None]:
    """Move the process into a working folder, a folder for temporary files and an environment; None removes one."""
    before = {name: os.environ.get(name) for name in (*variables, "TMPDIR")}
    folder, tempdir = Path.cwd(), tempfile.tempdir
    try:
        os.chdir(cwd)
        tempfile.tempdir = str(temporary)
        _set({**variables, "TMPDIR": str(temporary)})
        yield
    finally:
        os.chdir(folder)
        tempfile.tempdir = tempdir
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def snapshot(*folders: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of everything below the folders."""
    found = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            status = path.lstat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found
