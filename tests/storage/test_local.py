"""The local storage keeps content whole, and never yields a byte that does not belong to its address."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from hashlib import shake_128

import aleph_cid
import pytest

from balance_core import cid
from balance_core.builtin.storage import LocalStorage, LocalStorageSettings
from balance_core.errors import BlobNotFound, ConfigError, ContentMismatch, StorageError

LEAF = cid.CHUNK_BYTES
LIMIT = 2**30


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "storage"


@pytest.fixture
def storage(folder):
    return LocalStorage(LocalStorageSettings(folder=folder))


def noise(size: int) -> bytes:
    return shake_128(b"noise").digest(size)


def put(storage, data: bytes) -> str:
    return storage.put(io.BytesIO(data))


def read(storage, address: str) -> bytes:
    with storage.open(address, max_size=LIMIT) as stream:
        return stream.read()


def blob(storage, address):
    return storage.folder / "blobs" / address[-2:] / address


def damage(path, offset: int, data: bytes) -> None:
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def read_into(target: bytearray, stream, size: int) -> None:
    while piece := stream.read(size):
        target += piece


class Zeros(io.RawIOBase):
    """A stream of zeros that nobody holds in memory."""

    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.mark.parametrize("size", [0, 1, LEAF, LEAF + 1, 3 * LEAF + 5, 60 * 2**20])
def test_what_was_put_comes_back_under_the_address_that_ipfs_gives(storage, size):
    data = noise(size)
    address = put(storage, data)
    independent = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    independent.update(data)
    assert address == independent.finalize()
    assert storage.has(address)
    assert read(storage, address) == data
    assert read(LocalStorage(storage.settings), address) == data


def test_a_stream_can_be_read_in_pieces_and_from_anywhere(storage):
    data = noise(3 * LEAF + 100)
    address = put(storage, data)
    with storage.open(address, max_size=len(data)) as stream:
        for start, size in ((LEAF - 5, 10), (0, 1), (3 * LEAF, 500), (len(data), 5), (2 * LEAF - 1, LEAF + 2)):
            stream.seek(start)
            assert stream.read(size) == data[start : start + size]
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == data[-7:]
        assert stream.tell() == len(data)
        with pytest.raises(ValueError):
            stream.seek(-1)


def test_memory_does_not_grow_with_the_content(storage):
    size = 64 * 2**20
    tracemalloc.start()
    try:
        address = storage.put(Zeros(size))
        with storage.open(address, max_size=size) as stream:
            found = sum(len(piece) for piece in cid.chunks_of(stream))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == size
    assert peak < 8 * 2**20


def test_the_same_content_twice_is_one_blob(storage):
    assert put(storage, b"same") == put(storage, b"same")
    assert len(list((storage.folder / "blobs").glob("*/*"))) == 1
    assert list((storage.folder / "partial").iterdir()) == []


@pytest.mark.parametrize("offset", [0, LEAF - 1, LEAF, 2 * LEAF + 9])
def test_one_altered_byte_is_found_before_anything_is_handed_out(storage, offset):
    address = put(storage, bytes(2 * LEAF + 10))
    damage(blob(storage, address), offset, b"\x01")
    with pytest.raises(ContentMismatch, match=address):
        storage.open(address, max_size=LIMIT)


@pytest.mark.parametrize("size", [0, 100, LEAF, 2 * LEAF + 9])
def test_a_cut_or_extended_file_is_found(storage, size):
    address = put(storage, bytes(2 * LEAF + 10))
    blob(storage, address).chmod(0o600)
    os.truncate(blob(storage, address), size)
    with pytest.raises(ContentMismatch):
        storage.open(address, max_size=LIMIT)
    os.truncate(blob(storage, address), 2 * LEAF + 11)
    with pytest.raises(ContentMismatch):
        storage.open(address, max_size=LIMIT)


def test_content_is_not_found_under_the_address_of_other_content(storage):
    first, second = put(storage, b"first"), put(storage, b"second")
    blob(storage, second).replace(blob(storage, first))
    with pytest.raises(ContentMismatch):
        storage.open(first, max_size=LIMIT)


@pytest.mark.parametrize("size", [10, LEAF, 4 * LEAF])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
def test_bytes_swapped_between_the_check_and_the_read_are_never_yielded(storage, size, whole):
    data = bytes(size)
    address = put(storage, data)
    yielded = bytearray()
    with storage.open(address, max_size=LIMIT) as stream:
        damage(blob(storage, address), size - 1, b"\x01")
        with pytest.raises(ContentMismatch):
            read_into(yielded, stream, -1 if whole else 1000)
        stream.seek(size - 1)
        with pytest.raises(ContentMismatch):
            stream.read(1)
    assert data.startswith(yielded)
    assert len(yielded) < size


def test_a_file_cut_or_extended_between_the_check_and_the_read_yields_nothing_else(storage):
    data = bytes(2 * LEAF + 10)
    address = put(storage, data)
    with storage.open(address, max_size=LIMIT) as stream:
        blob(storage, address).chmod(0o600)
        os.truncate(blob(storage, address), 3 * LEAF)
        assert stream.read() == data
    os.truncate(blob(storage, address), len(data))
    with storage.open(address, max_size=LIMIT) as stream:
        os.truncate(blob(storage, address), LEAF)
        with pytest.raises(ContentMismatch):
            stream.read()


def test_a_blob_replaced_between_the_check_and_the_read_is_read_as_it_was(storage):
    data = noise(2 * LEAF)
    address = put(storage, data)
    with storage.open(address, max_size=LIMIT) as stream:
        other = storage.folder / "other"
        other.write_bytes(bytes(2 * LEAF))
        other.replace(blob(storage, address))
        assert stream.read() == data


def test_putting_content_again_mends_a_damaged_copy(storage):
    address = put(storage, b"content")
    damage(blob(storage, address), 0, b"X")
    assert put(storage, b"content") == address
    assert read(storage, address) == b"content"


def test_the_size_limit_counts_the_content_itself(storage):
    data = bytes(LEAF + 1)
    address = put(storage, data)
    assert storage.open(address, max_size=len(data)).read() == data
    with pytest.raises(StorageError, match="more than the 262144 bytes"):
        storage.open(address, max_size=LEAF)
    assert storage.open(put(storage, b""), max_size=0).read() == b""


def test_a_terabyte_of_nothing_is_refused_at_once(storage):
    address = put(storage, b"small")
    blob(storage, address).chmod(0o600)
    os.truncate(blob(storage, address), 2**40)
    with pytest.raises(StorageError):
        storage.open(address, max_size=2**20)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_not_a_file_is_refused_without_waiting(storage, kind, tmp_path):
    address = put(storage, b"content")
    path = blob(storage, address)
    path.unlink()
    if kind == "link":
        (tmp_path / "target").write_bytes(b"content")
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ContentMismatch):
        storage.open(address, max_size=LIMIT)


def test_missing_content_and_wrong_addresses_are_told_apart(storage):
    missing = cid.of_bytes(b"missing")
    assert not storage.has(missing)
    for call in (storage.pin, storage.unpin, lambda address: storage.open(address, max_size=1)):
        with pytest.raises(BlobNotFound, match=missing):
            call(missing)
        with pytest.raises(ConfigError):
            call("../../etc/passwd")
    with pytest.raises(ConfigError):
        storage.has("../../etc/passwd")
    assert not storage.folder.exists()


def test_only_unpinned_content_is_forgotten(storage):
    assert storage.forget_unpinned() == ()
    kept, dropped = put(storage, b"kept"), put(storage, b"dropped")
    assert storage.pinned() == tuple(sorted((kept, dropped)))
    storage.unpin(dropped)
    storage.unpin(dropped)
    assert read(storage, dropped) == b"dropped"
    storage.unpin(kept)
    storage.pin(kept)
    assert storage.forget_unpinned() == (dropped,)
    assert read(storage, kept) == b"kept"
    assert not storage.has(dropped)


def test_a_source_that_fails_leaves_nothing(storage):
    class Broken(Zeros):
        def read(self, size=-1):
            if not self.left:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(StorageError, match="cannot be read: Input/output error"):
        storage.put(Broken(3 * LEAF))
    assert not list(storage.folder.glob("*/*"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    storage = LocalStorage(LocalStorageSettings(folder=tmp_path / "file"))
    with pytest.raises(StorageError, match="file") as caught:
        put(storage, b"x")
    assert "storage.folder" in caught.value.hint


def child(code: str, folder) -> subprocess.Popen:
    start = f"""
        import io, os, resource, sys, time
        from pathlib import Path
        from balance_core.builtin.storage import LocalStorage, LocalStorageSettings
        storage = LocalStorage(LocalStorageSettings(folder=Path({str(folder)!r})))
    """
    program = textwrap.dedent(start) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_full_disk_is_an_error_and_leaves_nothing(storage):
    process = child(
        """
        from balance_core.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        try:
            storage.put(io.BytesIO(bytes(2**21)))
        except StorageError as error:
            print(error.exit_code, error)
        """,
        storage.folder,
    )
    output, _ = process.communicate(timeout=30)
    assert output.startswith("6 nothing can be stored")
    assert not list(storage.folder.glob("*/*"))


SLOW_SOURCE = """
class Slow(io.RawIOBase):
    pieces = 0
    def read(self, size=-1):
        self.pieces += 1
        if self.pieces == 3:
            print("started", flush=True)
            time.sleep(60)
        return bytes(2**20)
storage.put(Slow())
"""


def test_what_a_killed_process_left_is_removed_by_the_next_put_and_a_living_one_is_let_be(storage):
    dead, alive = child(SLOW_SOURCE, storage.folder), child(SLOW_SOURCE, storage.folder)
    try:
        assert dead.stdout.readline() == alive.stdout.readline() == "started\n"
        assert len(list((storage.folder / "partial").iterdir())) == 2
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        put(storage, b"other")
        assert len(list((storage.folder / "partial").iterdir())) == 1
        assert list((storage.folder / "pins").iterdir()) == [storage.folder / "pins" / cid.of_bytes(b"other")]
    finally:
        for process in (dead, alive):
            process.kill()
            process.communicate()
    put(storage, b"another")
    assert list((storage.folder / "partial").iterdir()) == []


def test_many_processes_can_put_the_same_content_at_once(storage):
    code = """
        for i in range(10):
            print(storage.put(io.BytesIO(bytes(700000))), storage.put(io.BytesIO(b"x" * i)))
    """
    processes = [child(code, storage.folder) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    expected = {cid.of_bytes(bytes(700000)), *(cid.of_bytes(b"x" * i) for i in range(10))}
    for output in outputs:
        assert len(output) == 20
        assert set(output) == expected
    for address in expected:
        read(storage, address)
    assert set(storage.pinned()) == expected
