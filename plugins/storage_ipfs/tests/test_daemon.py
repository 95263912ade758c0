"""The plugin against a daemon that others wrote (see daemon.py): `make test-ipfs`."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from hashlib import shake_128

import httpx
import pytest
from balance_ipfs import archive
from balance_ipfs.settings import IpfsSettings
from balance_ipfs.storage import IpfsStorage

from balance_core import cid
from balance_core.cli import invoke
from balance_core.errors import BlobNotFound, StorageUnreachable
from balance_core.testing import StorageConformance

from . import daemon
from .test_addresses import LAYOUTS
from .test_round_trip import PROGRAM

pytestmark = pytest.mark.plugin("ipfs")

SIZES = (0, 1000, 2**18, 2**18 + 1, 5_000_000, 60_000_000)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One daemon for all tests that leave it running."""
    with daemon.running(tmp_path_factory.mktemp("daemon") / "repository") as found:
        yield found


def store_of(found, **settings):
    return IpfsStorage(IpfsSettings(rpc_url=found.rpc, **{"timeout": 2.0, "retries": 0, **settings}))


def forget(found):
    """Unpin everything and let the daemon forget it."""
    store = store_of(found, timeout=30)
    for address in list(store.pinned()):
        store.unpin(address)
    httpx.post(f"{found.rpc}/api/v0/repo/gc", timeout=60).raise_for_status()


class TestDaemon(StorageConformance):
    storage = "ipfs"
    settings = {"timeout": 3.0, "retries": 0}

    @pytest.fixture(autouse=True)
    @classmethod
    def one_daemon(cls, shared):
        cls.daemon = shared
        forget(shared)

    @classmethod
    def place_settings(cls, place):
        del place
        return {"rpc_url": cls.daemon.rpc}

    def damage(self, place, address, data):
        del place
        super().damage(self.daemon.repository / "blocks", address, data)

    def cut(self, place, address, data):
        del place
        super().cut(self.daemon.repository / "blocks", address, data)


@pytest.mark.parametrize("size", SIZES)
def test_the_daemon_gives_and_keeps_what_was_put(shared, size, large):
    data = large.read_bytes()[:size]
    store = store_of(shared, timeout=30)
    address = store.put(io.BytesIO(data))
    assert address == cid.of_bytes(data)
    with store.open(address, max_size=size) as stream:
        assert cid.of_bytes(stream.read()) == address
    assert store.has(address)
    assert address in set(store.pinned())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_archives_of_all_layouts_are_imported_and_exported(shared, tmp_path, layout):
    (tmp_path / "source").write_bytes(shake_128(layout.encode()).digest(3_000_000))
    address = archive.pack(tmp_path / "source", tmp_path / "x.car", LAYOUTS[layout])
    store = store_of(shared, timeout=10)
    assert archive.send(store, tmp_path / "x.car", cid=None, max_size=2**24) == address
    assert store.has(address)
    archive.fetch(store, address, tmp_path / "y.car", max_size=2**24)
    archive.unpack(tmp_path / "y.car", tmp_path / "out", cid=address, max_size=2**24)
    assert cid.of_file(tmp_path / "out") == cid.of_file(tmp_path / "source")


def test_absent_content_is_not_waited_for(shared):
    store, absent = store_of(shared, timeout=1), cid.of_bytes(b"nobody has this")
    started = time.monotonic()
    assert not store.has(absent)
    for call in (store.pin, store.unpin, lambda address: store.open(address, max_size=1)):
        with pytest.raises(BlobNotFound):
            call(absent)
    assert time.monotonic() - started < 15


def test_doctor_finds_the_daemon_well_and_says_that_its_gateway_is_not_trustless(shared, capsys):
    options = ["-s", "ipfs", "-o", f"rpc_url={shared.rpc}"]
    assert invoke(["storage", "doctor", *options]) == 0
    assert invoke(["storage", "doctor", *options, "-o", f"gateways={shared.gateway}"]) == 6
    assert "no trustless gateway" in capsys.readouterr().out


def test_a_foreign_origin_is_refused_with_a_hint(shared):
    answer = httpx.post(f"{shared.rpc}/api/v0/version", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert next(iter(store_of(shared).diagnose())).hint is None


def test_sixty_megabytes_take_little_memory(shared, large):
    program = PROGRAM.replace("for door in (store, reader)", "for door in (store,)")
    command = [sys.executable, "-c", program, shared.rpc, shared.gateway, str(large)]
    address, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert address == cid.of_file(large)
    assert int(peak) < 100_000, "kilobytes"


class Slow(io.BytesIO):
    """A source that tells when it is read for the second time, and then takes its time."""

    def __init__(self, data):
        super().__init__(data)
        self.sending = threading.Event()
        self.passes = 0

    def seek(self, position, whence=0):
        self.passes += 1
        return super().seek(position, whence)

    def read(self, size=-1):
        if self.passes and self.tell() > 2**21:
            self.sending.set()
            time.sleep(0.05)
        return super().read(size)


def test_a_daemon_killed_in_the_middle_of_an_add_leaves_nothing_half_stored(tmp_path):
    data = shake_128(b"killed").digest(20_000_000)
    with daemon.running(tmp_path / "repository") as found:
        source, errors = Slow(data), []

        def put():
            try:
                store_of(found, timeout=10).put(source)
            except StorageUnreachable as error:
                errors.append(error)

        thread = threading.Thread(target=put)
        thread.start()
        assert source.sending.wait(30)
        found.kill()
        thread.join(30)
        assert errors, "the put did not fail"
        assert "repo.lock" in errors[0].hint
        for lock in (found.repository / "repo.lock", found.repository / "api"):
            if lock.is_dir():
                lock.rmdir()
            lock.unlink(missing_ok=True)
        found.start()
        store = store_of(found, timeout=10)
        assert not store.has(cid.of_bytes(data))
        assert store.put(io.BytesIO(data)) == cid.of_bytes(data)
        with store.open(cid.of_bytes(data), max_size=len(data)) as stream:
            assert cid.of_bytes(stream.read()) == cid.of_bytes(data)


def test_a_stale_lock_keeps_the_daemon_from_starting_and_the_hint_names_it(tmp_path):
    with daemon.running(tmp_path / "repository") as found:
        found.kill()
        assert (found.repository / "repo.lock").exists()
        with pytest.raises(RuntimeError, match=r"(?i)lock"):
            found.start()
        with pytest.raises(StorageUnreachable, match="cannot be reached") as caught:
            store_of(found).has(cid.of_bytes(b""))
        assert "repo.lock" in caught.value.hint
