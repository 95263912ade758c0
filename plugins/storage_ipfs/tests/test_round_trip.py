"""Real content through node, gateway and archive, in little memory."""

from __future__ import annotations

import filecmp
import subprocess
import sys

import numpy as np
import pytest
from balance_ipfs import archive
from balance_ipfs.address import Address

import balance_core
from balance_core import cid, registry
from balance_core.cli import invoke
from balance_core.testing import models
from balance_core.workspace import HOME_VARIABLE

from .faults import blocks_of
from .test_addresses import LAYOUTS

pytestmark = pytest.mark.plugin("ipfs")

LIMIT = 2**30


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


@pytest.mark.parametrize("backend", ["integer", pytest.param("ezkl", marks=pytest.mark.slow)])
def test_a_bundle_goes_through_node_gateway_and_archive_and_still_verifies(tmp_path, running, make, backend, capsys):
    if backend not in registry.names("backends"):
        pytest.skip(f"the backend {backend} is not installed")
    model = tmp_path / "tiny.onnx"
    model.write_bytes(models.mlp(seed=1).SerializeToString())
    inputs = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    run = balance_core.run(
        model, tmp_path / "x.npy", backend=backend, storage="ipfs", storage_settings={"rpc_url": running.rpc}
    )
    address = cid.of_file(run.bundle)
    store, reader = make(rpc=running.rpc), make(running.gateway)
    assert store.has(address)
    with reader.open(address, max_size=LIMIT) as stream:
        (tmp_path / "through the gateway").write_bytes(stream.read())
    archive.fetch(reader, address, tmp_path / "x.car", max_size=LIMIT)
    archive.unpack(tmp_path / "x.car", tmp_path / "out of the archive", cid=address, max_size=LIMIT)
    for copy in ("through the gateway", "out of the archive"):
        assert cid.of_file(tmp_path / copy) == address
        capsys.readouterr()
        assert invoke(["verify", str(tmp_path / copy)]) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [0, 1000, 2**18 + 1, 3 * 2**20])
def test_files_of_all_layouts_are_imported_read_and_exported_as_they_are(tmp_path, running, make, layout, size):
    source = tmp_path / "source"
    source.write_bytes(np.random.default_rng(size).bytes(size))
    address = archive.pack(source, tmp_path / "x.car", LAYOUTS[layout])
    store, reader = make(rpc=running.rpc), make(running.gateway)
    assert not store.has(address)
    assert archive.send(store, tmp_path / "x.car", cid=None, max_size=LIMIT) == address
    assert store.has(address)
    for through in (store, reader):
        with through.open(address, max_size=size) as stream:
            (tmp_path / "out").write_bytes(stream.read())
        assert filecmp.cmp(source, tmp_path / "out", shallow=False)
        archive.fetch(through, address, tmp_path / "y.car", max_size=size)
        archive.unpack(tmp_path / "y.car", tmp_path / "out", cid=address, max_size=size)
        assert filecmp.cmp(source, tmp_path / "out", shallow=False)


def test_a_damaged_archive_is_never_sent(tmp_path, running, make):
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 2000)
    address = archive.pack(source, tmp_path / "x.car")
    data = bytearray((tmp_path / "x.car").read_bytes())
    data[200_000] ^= 1
    (tmp_path / "x.car").write_bytes(data)
    store = make(rpc=running.rpc)
    with pytest.raises(balance_core.BalanceError, match="other bytes"):
        archive.send(store, tmp_path / "x.car", cid=None, max_size=LIMIT)
    assert not store.has(address)
    assert list(store.pinned()) == []


def test_large_content_of_every_layout_is_read_from_the_gateway_in_few_calls(running, make, large):
    data = large.read_bytes()[:5_000_000]
    for layout in LAYOUTS.values():
        address, _ = blocks_of(data, layout)
        path = large.with_name("part")
        path.write_bytes(data)
        archive.pack(path, large.with_name("part.car"), layout)
        archive.send(make(rpc=running.rpc), large.with_name("part.car"), cid=None, max_size=LIMIT)
        search = make(running.gateway).search(Address.parse(address))
        singles = []
        door = search._doors[0]
        object.__setattr__(door, "web", Counting(door.web, singles))
        from balance_ipfs.content import Content

        assert cid.of_chunks(Content(Address.parse(address), search, max_size=LIMIT).pieces()) == cid.of_bytes(data)
        search.close()
        assert len(singles) == 1


class Counting:
    """A client that counts calls for single blocks."""

    def __init__(self, web, singles):
        self.web, self.singles = web, singles

    def read(self, call, **options):
        self.singles.append(call)
        return self.web.read(call, **options)

    def handed_over(self, call):
        return self.web.handed_over(call)


PROGRAM = """
import sys
from balance_ipfs.settings import IpfsSettings
from balance_ipfs.storage import IpfsStorage
from balance_core.cid import chunks_of
rpc, gateway, path = sys.argv[1:]
store = IpfsStorage(IpfsSettings(rpc_url=rpc))
reader = IpfsStorage(IpfsSettings(rpc_url=None, gateways=(gateway,)))
if path == "-":
    address = store.put(sys.stdin.buffer)
else:
    with open(path, "rb") as source:
        address = store.put(source)
for door in (store, reader):
    with door.open(address, max_size=2**30) as stream:
        assert sum(map(len, chunks_of(stream))) == 60_000_000
print(address, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_sixty_megabytes_are_put_and_opened_in_less_than_a_hundred_of_memory(running, large, piped):
    command = [sys.executable, "-c", PROGRAM, running.rpc, running.gateway, "-" if piped else str(large)]
    sent = large.read_bytes() if piped else None
    done = subprocess.run(command, input=sent, capture_output=True, check=True)
    address, peak = done.stdout.decode().split()
    assert address == cid.of_file(large)
    assert int(peak) < 100_000, "kilobytes"


def test_the_commands_put_get_list_and_mirror(tmp_path, running, capsys):
    (tmp_path / "one").write_bytes(b"one" * 200_000)
    (tmp_path / "two").write_bytes(b"two")
    node, target = ["-s", "ipfs", "-o", f"rpc_url={running.rpc}"], f"to.rpc_url={running.rpc}"
    assert invoke(["storage", "doctor", *node]) == 0
    assert invoke(["storage", "put", str(tmp_path / "one")]) == 0
    assert invoke(["storage", "put", str(tmp_path / "two")]) == 0
    addresses = [cid.of_file(tmp_path / name) for name in ("one", "two")]
    assert invoke(["storage", "put", str(tmp_path / "one"), *node]) == 0
    capsys.readouterr()
    for expected in ("1 copied, 1 there already, 0 failed", "0 copied, 2 there already, 0 failed"):
        assert invoke(["storage", "mirror", "--from", "local", "--to", "ipfs", "-o", target]) == 0
        assert expected in capsys.readouterr().out
    assert invoke(["storage", "ls", *node]) == 0
    assert set(capsys.readouterr().out.split()) == set(addresses)
    assert invoke(["storage", "get", addresses[0], "--out", str(tmp_path / "copy"), *node]) == 0
    assert filecmp.cmp(tmp_path / "one", tmp_path / "copy", shallow=False)
    assert invoke(["storage", "unpin", addresses[0], *node]) == 0
    assert invoke(["storage", "pin", addresses[0], *node]) == 0
    assert invoke(["storage", "get", cid.of_bytes(b"absent"), *node]) == 6
    assert invoke(["storage", "doctor", "-s", "ipfs", "-o", "rpc_url=http://127.0.0.1:1"]) == 6
    assert "hint: start it with" in capsys.readouterr().err


def test_a_node_killed_while_content_is_mirrored_loses_nothing_and_the_rest_follows(tmp_path, running, make):
    from balance_core.builtin.storage import LocalStorage
    from balance_core.errors import StorageUnreachable
    from balance_core.mirroring import Outcome, mirror

    from . import peer

    local = LocalStorage()
    addresses = []
    for number in range(6):
        (tmp_path / "x").write_bytes(bytes([number]) * 300_000)
        with (tmp_path / "x").open("rb") as source:
            addresses.append(local.put(source))
    steps = mirror(local, make(rpc=running.rpc), addresses, max_size=LIMIT)
    assert [next(steps).outcome for _ in range(3)] == [Outcome.COPIED] * 3
    running.process.kill()
    with pytest.raises(StorageUnreachable):
        list(steps)
    again = tmp_path / "again"
    again.mkdir()
    with peer.serving(again) as other:
        store = make(rpc=other.rpc)
        assert {step.outcome for step in mirror(local, store, addresses, max_size=LIMIT)} == {Outcome.COPIED}
        assert {step.outcome for step in mirror(local, store, addresses, max_size=LIMIT)} == {Outcome.PRESENT}
