"""The conformance of stores: content comes back as it went in, or not at all."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
import pytest

from balance_core import cid
from balance_core.errors import BalanceError, BlobNotFound, StorageError
from balance_core.testing import confine
from balance_core.testing.form import PluginConformance
from balance_core.workspace import HOME_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

    from balance_core.contracts import Storage

_CHUNK = cid.CHUNK_BYTES
_SIZES = (0, 1, 1000, _CHUNK - 1, _CHUNK, _CHUNK + 1, 3 * _CHUNK + 17)
_LARGE = 2**26


def content(size: int, *, seed: int = 3) -> bytes:
    """Return random content of a size, the same each time."""
    return np.random.default_rng((size, seed)).bytes(size)


def _same(got: bytes, expected: bytes) -> None:
    """Fail with the sizes alone: how random bytes differ tells nobody anything, and takes pytest minutes to draw."""
    if got != expected:
        raise AssertionError(f"{len(got)} other bytes came back than the {len(expected)} that were put")


class _Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, and fails where it is told to."""

    def __init__(self, data: bytes, *, fail: bool = False) -> None:
        self._inner = io.BytesIO(data)
        self._fail = fail

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._inner.read(min(len(view), 7001))
        if not piece and self._fail:
            raise OSError("the source broke off")
        view[: len(piece)] = piece
        return len(piece)


class StorageConformance(PluginConformance):
    """What every store promises: `class TestMine(StorageConformance): storage = "mine"`.

    Each case has an empty folder that is also the data folder (BALANCE_HOME); a store that keeps its content
    elsewhere says in `place_settings` how it is led there.
    """

    kind = "storage"
    attribute = "storage"
    storage: ClassVar[str | type[Storage]]
    """Name or class of the store."""

    @classmethod
    def place_settings(cls, place: Path) -> dict[str, Any]:
        """Return settings under which an instance keeps its content at this place."""
        del place
        return {}

    def damage(self, place: Path, address: str, data: bytes) -> None:
        """Change, behind the store's back, what it keeps for an address; `data` is the content.

        By default the last of the content's first bytes is changed in every file below the place that holds them.
        """
        del address
        probe = data[:1000]
        hit = 0
        for path in place.rglob("*"):
            if path.is_file() and (kept := path.read_bytes()) and (at := kept.find(probe)) >= 0:
                path.chmod(0o600)
                path.write_bytes(kept[: at + 999] + bytes([kept[at + 999] ^ 1]) + kept[at + 1000 :])
                hit += 1
        assert hit, "no file holds the content: override damage()"

    def cut(self, place: Path, address: str, data: bytes) -> None:
        """Shorten, behind the store's back, what it keeps for an address, by its last thousand bytes."""
        del address
        probe = data[-1000:]
        hit = 0
        for path in place.rglob("*"):
            if path.is_file() and (kept := path.read_bytes()) and (at := kept.find(probe)) >= 0:
                path.chmod(0o600)
                path.write_bytes(kept[:at])
                hit += 1
        assert hit, "no file holds the content: override cut()"

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty folder, which is also the data folder."""
        self.plugin_class()
        place = tmp_path / "place"
        place.mkdir()
        monkeypatch.setenv(HOME_VARIABLE, str(place))
        return place

    @pytest.fixture
    def store(self, place: Path) -> Storage:
        """A store in an empty place."""
        return self.open_store(place)

    def open_store(self, place: Path) -> Storage:
        """Return a new instance on a place."""
        store: Storage = self.make(**self.place_settings(place))
        return store

    @pytest.mark.parametrize("size", _SIZES)
    def test_content_comes_back(self, store: Storage, size: int) -> None:
        """What was put comes back, under the address that its content has everywhere."""
        data = content(size)
        address = store.put(io.BytesIO(data))
        assert address == cid.of_bytes(data)
        assert store.has(address)
        _same(_read(store, address), data)

    def test_content_comes_in_pieces(self, store: Storage) -> None:
        """A stream can be read in pieces of any size, and is then at its end."""
        data = content(2 * _CHUNK + 5)
        address = store.put(io.BytesIO(data))
        with store.open(address, max_size=len(data)) as stream:
            got = b"".join(stream.read(size) for size in (1, 999, _CHUNK, 3))
            while piece := stream.read(_CHUNK + 1):
                got += piece
        _same(got, data)

    def test_slow_source_is_stored(self, store: Storage) -> None:
        """A source that gives a few bytes at a time is stored like any other."""
        data = content(_CHUNK + 1)
        assert store.put(io.BufferedReader(_Trickle(data))) == cid.of_bytes(data)
        assert store.put(_trickle(data)) == cid.of_bytes(data)
        _same(_read(store, cid.of_bytes(data)), data)

    def test_broken_source_leaves_nothing(self, store: Storage) -> None:
        """A source that breaks off is an error, and no part of it is there afterwards."""
        data = content(_CHUNK + 1)
        with pytest.raises((OSError, StorageError)):
            store.put(_trickle(data, fail=True))
        with pytest.raises(BlobNotFound):
            _read(store, cid.of_bytes(data))
        _same(_read(store, store.put(io.BytesIO(data))), data)

    def test_absent_content_is_not_found(self, store: Storage) -> None:
        """For content that the store does not hold, `has` says no and everything else raises BlobNotFound."""
        absent = cid.of_bytes(b"never stored here")
        store.put(io.BytesIO(b"something else"))
        assert not store.has(absent)
        for call in (lambda: _read(store, absent), lambda: store.pin(absent), lambda: store.unpin(absent)):
            with pytest.raises(BlobNotFound):
                call()

    @pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "b" + "a" * 58, "bafkreiA", "b" * 10_000])
    def test_what_is_no_address_is_refused(self, store: Storage, name: str) -> None:
        """What is no content address is a clean error, not a path and not a crash."""
        for call in (lambda: store.has(name), lambda: _read(store, name), lambda: store.pin(name)):
            with pytest.raises(BalanceError):
                call()

    @pytest.mark.parametrize("size", [1, _CHUNK, 2 * _CHUNK + 1])
    def test_max_size_is_kept(self, store: Storage, size: int) -> None:
        """More bytes than `max_size` are an error and are never read whole; exactly as many are not."""
        data = content(size)
        address = store.put(io.BytesIO(data))
        _same(_read(store, address, max_size=size), data)
        got = bytearray()
        with pytest.raises(StorageError):
            _drain(store, address, got, step=1000, max_size=size - 1)
        assert len(got) < size

    def test_damaged_content_is_never_returned(self, store: Storage, place: Path) -> None:
        """Not one byte comes out of damaged content that was not in the original, and the damage is an error."""
        data = content(2 * _CHUNK + 2000)
        address = store.put(io.BytesIO(data))
        self.damage(place, address, data)
        self._never_returns_other_bytes(store, place, address, data)

    def test_cut_content_is_never_returned(self, store: Storage, place: Path) -> None:
        """Content that has become shorter is an error, not an early end."""
        data = content(2 * _CHUNK + 2000)
        address = store.put(io.BytesIO(data))
        self.cut(place, address, data)
        self._never_returns_other_bytes(store, place, address, data)

    def _never_returns_other_bytes(self, store: Storage, place: Path, address: str, data: bytes) -> None:
        for opened in (store, self.open_store(place)):
            for size in (1000, _CHUNK, -1):
                got = bytearray()
                with pytest.raises(StorageError):
                    _drain(opened, address, got, step=size)
                assert data.startswith(got), "bytes came out that nobody put in"

    def test_same_content_twice_is_one(self, store: Storage) -> None:
        """Content that is put twice has one address and comes back as before."""
        data = content(1000)
        assert store.put(io.BytesIO(data)) == store.put(io.BytesIO(data))
        _same(_read(store, cid.of_bytes(data)), data)

    def test_stores_keep_content_after_a_restart(self, store: Storage, place: Path) -> None:
        """A new instance on the same place holds what the one before was given."""
        data = content(_CHUNK + 1)
        address = store.put(io.BytesIO(data))
        again = self.open_store(place)
        assert again.has(address)
        _same(_read(again, address), data)

    def test_pins_may_be_set_and_lifted(self, store: Storage) -> None:
        """Pinning twice is fine, other content is not touched by unpinning, and unpinned content is whole or gone."""
        kept, let_go = (store.put(io.BytesIO(content(1000, seed=seed))) for seed in (1, 2))
        store.pin(kept)
        store.pin(kept)
        store.unpin(let_go)
        _same(_read(store, kept), content(1000, seed=1))
        if store.has(let_go):
            _same(_read(store, let_go), content(1000, seed=2))
            store.pin(let_go)
            assert store.has(let_go)

    def test_putting_again_pins_again(self, store: Storage) -> None:
        """Content that was let go and is put again is held as if for the first time."""
        data = content(1000)
        address = store.put(io.BytesIO(data))
        store.unpin(address)
        assert store.put(io.BytesIO(data)) == address
        _same(_read(store, address), data)

    def test_many_put_at_once(self, store: Storage, place: Path) -> None:
        """Several threads, each with an instance of its own, put the same and different content at once."""
        contents = [content(_CHUNK + number % 4) for number in range(12)]

        def put(data: bytes) -> str:
            return self.open_store(place).put(io.BytesIO(data))

        with ThreadPoolExecutor(6) as threads:
            addresses = list(threads.map(put, contents))
        assert addresses == [cid.of_bytes(data) for data in contents]
        assert all(_read(store, address) == data for address, data in zip(addresses, contents, strict=True))

    def test_readers_do_not_disturb_each_other(self, store: Storage) -> None:
        """Two streams of one store are read in turns."""
        one, two = content(_CHUNK + 1, seed=1), content(_CHUNK + 1, seed=2)
        addresses = [store.put(io.BytesIO(data)) for data in (one, two)]
        with store.open(addresses[0], max_size=_LARGE) as first, store.open(addresses[1], max_size=_LARGE) as second:
            turns = [(first.read(50_000), second.read(50_000)) for _ in range(7)]
        _same(b"".join(piece for piece, _ in turns), one)
        _same(b"".join(piece for _, piece in turns), two)

    def test_it_keeps_to_its_place(self, place: Path, tmp_path: Path) -> None:
        """A store writes nothing outside its place and a temporary folder, and calls nobody unless it says so."""
        temporary, around = tmp_path / "temporary", tmp_path / "around"
        temporary.mkdir()
        around.mkdir()
        network = self.plugin_class().needs_network
        variables = {"HOME": str(around), HOME_VARIABLE: str(place)}
        with (
            confine.surroundings(around, temporary, variables),
            confine.watched((place, temporary), network=network) as watch,
        ):
            store = self.open_store(place)
            address = store.put(io.BytesIO(content(1000)))
            _same(_read(store, address), content(1000))
        assert not watch.writes
        assert network or not watch.calls
        assert not os.listdir(around)  # noqa: PTH208 - a list to compare with nothing
        assert not os.listdir(temporary)  # noqa: PTH208


def _trickle(data: bytes, *, fail: bool = False) -> BinaryIO:
    stream: Any = _Trickle(data, fail=fail)
    source: BinaryIO = stream
    return source


def _read(store: Storage, address: str, *, max_size: int = _LARGE) -> bytes:
    with store.open(address, max_size=max_size) as stream:
        return stream.read()


def _drain(store: Storage, address: str, into: bytearray, *, step: int, max_size: int = _LARGE) -> None:
    """Read in steps, and keep what came even if the reading ends in an error."""
    with store.open(address, max_size=max_size) as stream:
        while piece := stream.read(step):
            into += piece
