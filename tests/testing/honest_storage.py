"""An honest store: a folder of chunks, each read back whole and compared with its address."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from balance_core import cid
from balance_core.contracts import Storage
from balance_core.errors import BlobNotFound, ContentMismatch, StorageError
from balance_core.workspace import Workspace


class HonestStorage(Storage):
    """Content in a folder of the workspace, a file for each address."""

    api_version = 1

    @property
    def folder(self) -> Path:
        folder = Workspace.default().root / "honest"
        folder.mkdir(exist_ok=True)
        return folder

    def put(self, source):
        data = b"".join(cid.chunks_of(source))
        address = self.address(data)
        self.write(self.folder / address, data)
        return address

    def address(self, data):
        return cid.of_bytes(data)

    def write(self, path, data):
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).replace(path)

    def open(self, cid, *, max_size):
        data = self.read(self.path(cid), max_size)
        self.compare(cid, data)
        return io.BytesIO(data)

    def read(self, path, max_size):
        with path.open("rb") as stream:
            data = stream.read(max_size + 1)
        if len(data) > max_size:
            raise StorageError(f"{path.name} has more than {max_size} bytes")
        return data

    def compare(self, address, data):
        if cid.of_bytes(data) != address:
            raise ContentMismatch(f"{address} is damaged")

    def path(self, address):
        path = self.folder / self.checked(address)
        if not path.is_file():
            raise BlobNotFound(f"nothing is kept for {address}")
        return path

    def checked(self, address):
        return cid.check(address)

    def has(self, cid):
        return (self.folder / self.checked(cid)).is_file()

    def pin(self, cid):
        self.path(cid)

    def unpin(self, cid):
        self.path(cid)
