"""The `local` storage: content in a folder, under the address that any other store would give it.

    <folder>/blobs/<last two letters>/<cid>   content, whole
    <folder>/pins/<cid>                       an empty file: do not forget this content
    <folder>/partial/                         content on its way in; what a killed process left, the next put removes

Nothing in the folder is believed: a read hashes every chunk that it hands out.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from pydantic import Field

from balance_core import cid as cids
from balance_core.contracts import ListsContent, Storage
from balance_core.errors import BlobNotFound, ContentMismatch, ContentTooLarge, StorageError
from balance_core.files import locked, sync_folder
from balance_core.settings import Settings
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer


class LocalStorageSettings(Settings):
    """Where the local storage keeps its content."""

    folder: Path | None = Field(default=None, description="the folder of the content; by default in the data folder")


class LocalStorage(Storage, ListsContent):
    """Content in a folder; any number of processes may use it at the same time."""

    api_version = 1
    settings_class: ClassVar[type[Settings]] = LocalStorageSettings
    settings: LocalStorageSettings

    @property
    def folder(self) -> Path:
        """The folder of the content."""
        return self.settings.folder or Workspace.default().storage

    def put(self, source: BinaryIO) -> str:
        """Store and pin a stream's content in constant memory; content that is there already is written anew.

        Writing it anew costs a little and mends a copy that was damaged.
        """
        folder = self.folder
        with _explained(folder, "stored"), self._partial(folder) as partial, partial.open("wb") as stream:
            hasher = cids.Hasher()
            for chunk in _chunks(source):
                hasher.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
            os.fsync(stream.fileno())
            address = hasher.cid()
            self._keep(folder, partial, address)
        return address

    @staticmethod
    @contextlib.contextmanager
    def _partial(folder: Path) -> Iterator[Path]:
        """Lend a file to write to, locked while its writer lives, and removed unless it was moved away."""
        parent = folder / "partial"
        parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with locked(folder / ".lock"):
                for stale in parent.iterdir():
                    with locked(stale, wait=False) as free:
                        if free:
                            stale.unlink(missing_ok=True)
                handle, name = tempfile.mkstemp(dir=parent)
                os.close(handle)
                held.enter_context(locked(Path(name)))
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)

    def _keep(self, folder: Path, partial: Path, address: str) -> None:
        """Move a whole file to its place and pin it; under the lock, so that nothing is forgotten in between."""
        target = _blob(folder, address)
        with locked(folder / ".lock"):
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(target.parent.parent)
                sync_folder(folder)
            partial.replace(target)
            sync_folder(target.parent)
            self._pin(folder, address)

    def open(self, cid: str, *, max_size: int) -> BinaryIO:
        """Return the content as a stream; the whole is hashed first, and each chunk again when it is handed out."""
        path = _blob(self.folder, cid)
        with _explained(self.folder, "read"):
            return io.BufferedReader(_CheckedReader(path, max_size), cids.CHUNK_BYTES)

    def has(self, cid: str) -> bool:
        """Say whether there is a file for this address; whether its content fits, `open` tells."""
        return _blob(self.folder, cid).is_file()

    def pin(self, cid: str) -> None:
        """Keep the content when unpinned content is forgotten."""
        folder = self.folder
        path = _blob(folder, cid)
        with _explained(folder, "pinned"):
            if not path.is_file():
                raise _missing(cid)
            with locked(folder / ".lock"):
                if not path.is_file():
                    raise _missing(cid)
                self._pin(folder, cid)

    def unpin(self, cid: str) -> None:
        """Let `forget_unpinned` remove the content."""
        folder = self.folder
        path = _blob(folder, cid)
        with _explained(folder, "unpinned"):
            if not path.is_file():
                raise _missing(cid)
            with locked(folder / ".lock"):
                (folder / "pins" / cid).unlink(missing_ok=True)

    def pinned(self) -> tuple[str, ...]:
        """Return the addresses of all pinned content, sorted."""
        pins = self.folder / "pins"
        return tuple(sorted(path.name for path in pins.iterdir())) if pins.is_dir() else ()

    def forget_unpinned(self) -> tuple[str, ...]:
        """Remove all content that is not pinned and return its addresses."""
        folder = self.folder
        forgotten = []
        with _explained(folder, "cleaned"):
            if not folder.is_dir():
                return ()
            with locked(folder / ".lock"):
                pinned = set(self.pinned())
                for path in sorted((folder / "blobs").glob("*/*")):
                    if path.name not in pinned:
                        path.unlink(missing_ok=True)
                        forgotten.append(path.name)
        return tuple(forgotten)

    @staticmethod
    def _pin(folder: Path, address: str) -> None:
        pins = folder / "pins"
        pins.mkdir(exist_ok=True)
        (pins / address).touch()
        sync_folder(pins)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield the source's content; its own failures are told apart from the folder's."""
    try:
        yield from cids.chunks_of(source)
    except OSError as error:
        raise StorageError(f"what should be stored cannot be read: {error.strerror or error}") from error


def _blob(folder: Path, address: str) -> Path:
    cids.check(address)
    return folder / "blobs" / address[-2:] / address


def _missing(address: str) -> BlobNotFound:
    return BlobNotFound(f"the local storage does not hold {address}", hint="ask whoever gave you the address for it")


@contextlib.contextmanager
def _explained(folder: Path, done: str) -> Iterator[None]:
    """Turn the system's errors into StorageError with the folder's name."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"nothing can be {done} in the local storage {str(folder)!r}: {error.strerror}",
            hint="check its permissions and the space left, or choose another folder: -o storage.folder=PATH",
        ) from error


def _open(path: Path) -> int:
    """Open a regular file, neither following a link nor waiting for a pipe's other end."""
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _missing(path.name) from None
    raise ContentMismatch(f"what lies at the place of {path.name} is no file", hint=f"remove {path}")


class _CheckedReader(io.RawIOBase):
    """A file's content, each chunk compared with the hashes that the first pass found to make up the address.

    The first pass keeps 32 bytes of each 256 KiB. What is handed out later is read again from the same open file, so
    a change in between does not fit its hash, and is never seen by the caller.
    """

    def __init__(self, path: Path, max_size: int) -> None:
        self._handle = -1
        self._address = path.name
        self._position = 0
        self._current: tuple[int, bytes] = (-1, b"")
        self._handle = _open(path)
        try:
            self._leaves, self._size = self._first_pass(max_size)
        except BaseException:
            self.close()
            raise

    def _first_pass(self, max_size: int) -> tuple[Sequence[bytes], int]:
        hasher = cids.Hasher()
        leaves = []
        size = 0
        while chunk := self._chunk_at(size):
            size += len(chunk)
            if size > max_size:
                raise ContentTooLarge(
                    f"{self._address} has more than the {max_size} bytes allowed",
                    hint="allow more if you expected as much",
                )
            hasher.update(chunk)
            leaves.append(sha256(chunk).digest())
        if hasher.cid() != self._address:
            raise self._mismatch()
        return leaves, size

    def _chunk_at(self, offset: int) -> bytes:
        """Read a whole chunk: a read may be cut short, and a chunk's hash is over all of it."""
        pieces = []
        left = cids.CHUNK_BYTES
        while left and (piece := os.pread(self._handle, left, offset)):
            pieces.append(piece)
            offset += len(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _mismatch(self) -> ContentMismatch:
        return ContentMismatch(
            f"the local storage holds other bytes than {self._address} stands for",
            hint="store the content again: that replaces the damaged copy",
        )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("a position before the start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._checked()[: len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Read the rest by whole chunks: the inherited one asks for a few kilobytes at a time."""
        pieces = []
        while piece := self._checked():
            pieces.append(bytes(piece))
            self._position += len(piece)
        return b"".join(pieces)

    def _checked(self) -> memoryview:
        """Return the rest of the chunk at the position, after comparing the whole chunk with its hash."""
        index, start = divmod(self._position, cids.CHUNK_BYTES)
        if index >= len(self._leaves):
            return memoryview(b"")
        if self._current[0] != index:
            chunk = self._chunk_at(index * cids.CHUNK_BYTES)[: self._size - index * cids.CHUNK_BYTES]
            if sha256(chunk).digest() != self._leaves[index]:
                raise self._mismatch()
            self._current = (index, chunk)
        return memoryview(self._current[1])[start:]

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
        super().close()
