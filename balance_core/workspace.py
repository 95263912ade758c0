"""The user's data folder: keys, content, cached setups, runs, reference strings and the embedded ledger."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import cid
from balance_core.errors import BlobNotFound, ConfigError
from balance_core.files import locked, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME_VARIABLE = "BALANCE_HOME"
"""The environment variable that moves the data folder."""


@dataclass(frozen=True)
class Workspace:
    """Where everything is kept; any number of processes may use one at the same time."""

    root: Path

    @classmethod
    def default(cls) -> Workspace:
        """Return the workspace that BALANCE_HOME names, or the one in the user's data folder."""
        import platformdirs

        home = os.environ.get(HOME_VARIABLE)
        root = Path(home).expanduser().absolute() if home else platformdirs.user_data_path("balance")
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"the data folder {str(root)!r} cannot be made: {error.strerror}",
                hint=f"set {HOME_VARIABLE} to a folder that you can write to",
            ) from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise ConfigError(
                f"the data folder {str(root)!r} cannot be written to",
                hint=f"set {HOME_VARIABLE} to a folder that you can write to",
            )
        return cls(root)

    @property
    def keys(self) -> Path:
        """The folder of signing keys."""
        return self.root / "keys"

    @property
    def srs(self) -> Path:
        """The folder of structured reference strings."""
        return self.root / "srs"

    @property
    def ledger(self) -> Path:
        """The embedded ledger's database."""
        return self.root / "ledger.db"

    @property
    def storage(self) -> Path:
        """The folder of the embedded content-addressed storage."""
        return self.root / "storage"

    @property
    def runs(self) -> Path:
        """The folder of runs, one folder each."""
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """The folder of cached setups."""
        return self.root / "cache"

    def blob(self, address: str) -> Path:
        """Return the file of a blob that a stage published here; raises BlobNotFound."""
        path = self._blob_path(address)
        if not path.is_file():
            raise BlobNotFound(f"the workspace does not hold {address}", hint="run the stage that makes it again")
        return path

    def publish(self, source: Path) -> str:
        """Move a file into the workspace's blobs, whole or not at all, and return its CID."""
        source.chmod(0o400)
        with source.open("rb") as stream, ThreadPoolExecutor(1) as disk:
            written = disk.submit(os.fsync, stream.fileno())
            address = cid.of_chunks(cid.chunks_of(stream))
            written.result()
        target = self._blob_path(address)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        sync_folder(target.parent)
        return address

    def publish_bytes(self, data: bytes) -> str:
        """Keep bytes as a blob and return their CID."""
        with self.scratch() as folder:
            source = folder / "blob"
            source.write_bytes(data)
            return self.publish(source)

    def _blob_path(self, address: str) -> Path:
        cid.check(address)
        return self.root / "blobs" / address[-2:] / address

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend an empty folder, removed afterwards; one that a killed process left is removed by the next call."""
        parent = self.root / "scratch"
        parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with locked(parent / ".lock"):
                self._sweep(parent)
                folder = Path(tempfile.mkdtemp(dir=parent))
                held.enter_context(locked(folder / ".lock"))
            try:
                inner = folder / "work"
                inner.mkdir()
                yield inner
            finally:
                # Under the lock of whoever sweeps: it must not look into a folder that is just going away.
                with locked(parent / ".lock"):
                    shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _sweep(parent: Path) -> None:
        """Remove folders whose owner is gone, as their free locks show; the caller holds the parent's lock."""
        for folder in parent.iterdir():
            if folder.is_dir():
                with locked(folder / ".lock", wait=False) as free:
                    if free:
                        shutil.rmtree(folder, ignore_errors=True)
