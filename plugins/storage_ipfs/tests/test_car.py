"""Archives are written as others read them, read as others write them, and believed in nothing."""

from __future__ import annotations

import io
from hashlib import shake_128

import aleph_cid
import pytest
from balance_ipfs import archive, car
from balance_ipfs.address import Address
from hypothesis import given
from hypothesis import strategies as st

from balance_core.cli import invoke
from balance_core.errors import BalanceError, BlobNotFound, ConfigError, ContentMismatch, StorageError

from .faults import blocks_of
from .test_addresses import EMPTY_V0, HELLO, LAYOUTS

pytestmark = pytest.mark.plugin("ipfs")

DATA = shake_128(b"car").digest(2 * 2**18 + 99)
LIMIT = 2**24


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_packed_and_unpacked_is_the_same_file(source, tmp_path, layout):
    address = archive.pack(source, tmp_path / "x.car", LAYOUTS[layout])
    assert address == blocks_of(DATA, LAYOUTS[layout])[0]
    assert aleph_cid.read_carv1_root(str(tmp_path / "x.car")) == address
    assert archive.unpack(tmp_path / "x.car", tmp_path / "out", cid=None, max_size=LIMIT) == address
    assert archive.unpack(tmp_path / "x.car", tmp_path / "out", cid=address, max_size=len(DATA)) == address
    if (tmp_path / "out").read_bytes() != DATA:
        raise AssertionError("another file came out")


def test_content_that_repeats_itself_is_packed_once(tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(2**22))
    archive.pack(tmp_path / "zeros", tmp_path / "x.car")
    assert (tmp_path / "x.car").stat().st_size < 2**19
    archive.unpack(tmp_path / "x.car", tmp_path / "out", cid=None, max_size=LIMIT)
    assert (tmp_path / "out").stat().st_size == 2**22


def test_an_empty_file_is_packed_too(tmp_path):
    (tmp_path / "empty").touch()
    archive.pack(tmp_path / "empty", tmp_path / "x.car")
    archive.unpack(tmp_path / "x.car", tmp_path / "out", cid=None, max_size=0)
    assert (tmp_path / "out").read_bytes() == b""


def written(path, *sections, roots):
    path.write_bytes(
        car.header(*map(Address.parse, roots))
        + b"".join(car.section(Address.parse(a), block) for a, block in sections)
    )
    return path


@pytest.mark.parametrize("kind", ["altered", "padded", "missing", "too large", "two roots", "another root"])
def test_an_archive_that_is_not_what_it_says_leaves_no_file(tmp_path, kind):
    address, blocks = blocks_of(DATA)
    leaf = next(found for found in blocks if found != address)
    limit, roots, wanted = LIMIT, [address], None
    if kind == "altered":
        blocks[leaf] = bytes(len(blocks[leaf]))
    elif kind == "padded":
        blocks[leaf] += b"x"
    elif kind == "missing":
        del blocks[leaf]
    elif kind == "too large":
        limit = len(DATA) - 1
    elif kind == "two roots":
        roots = [address, HELLO]
    else:
        wanted = EMPTY_V0
    path = written(tmp_path / "x.car", *blocks.items(), roots=roots)
    expected = {"altered": ContentMismatch, "padded": ContentMismatch, "missing": BlobNotFound}.get(
        kind, StorageError
    )
    with pytest.raises(expected) as caught:
        archive.unpack(path, tmp_path / "out", cid=wanted, max_size=limit)
    assert caught.value.hint
    assert {found.name for found in tmp_path.iterdir()} == {"x.car"}


GOOD = car.header(Address.parse(HELLO)) + car.section(Address.parse(HELLO), b"hello world")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"not an archive at all",
        b"\xff" * 100,
        b"\xff\xff\xff\xff\x7f" + GOOD,
        GOOD[:-1],
        GOOD[:40],
        GOOD[:70],
        GOOD + b"\x05",
        GOOD + b"\x80\x00",
        GOOD + b"\xff\xff\xff\xff\x0f",
        GOOD + b"\x00",
        GOOD + b"\x0b\x01\x55\x00\x05hello",
        GOOD.replace(b"version\x01", b"version\x03"),
        GOOD.replace(b"eroots", b"eroofs"),
        GOOD.replace(b"\x81\xd8", b"\x80\xd8"),
        GOOD.replace(b"\x81\xd8", b"\x9f\xd8"),
        GOOD.replace(b"X%\x00", b"X%\x01"),
        GOOD.replace(b"X%\x00", b"X\x26\x00"),
        b"\x0a\xa1gversion\x02" + bytes(60),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, data):
    (tmp_path / "x.car").write_bytes(data)
    with pytest.raises(StorageError, match="CAR file of version 1"):
        archive.unpack(tmp_path / "x.car", tmp_path / "out", cid=None, max_size=LIMIT)
    assert not (tmp_path / "out").exists()


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_changed_byte_gives_the_content_or_an_error(tmp_path_factory, position, byte):
    path = tmp_path_factory.getbasetemp() / "changed.car"
    path.write_bytes(GOOD[:position] + bytes([byte]) + GOOD[position + 1 :])
    try:
        archive.unpack(path, path.with_suffix(".out"), cid=HELLO, max_size=LIMIT)
    except BalanceError:
        return
    assert path.with_suffix(".out").read_bytes() == b"hello world"


def test_blocks_are_found_under_any_version_of_their_address(tmp_path):
    address, blocks = blocks_of(DATA, LAYOUTS["v0"])
    as_v1 = Address(1, 0x70, Address.parse(address).digest)
    path = written(tmp_path / "x.car", *blocks.items(), roots=[str(as_v1)])
    assert archive.unpack(path, tmp_path / "out", cid=None, max_size=LIMIT) == str(as_v1)


def test_headers_are_read_as_they_are_written():
    roots = tuple(Address.parse(text) for text in (HELLO, EMPTY_V0))
    assert car.read_header(Taken(car.header(*roots))) == roots


class Taken(io.BytesIO):
    def take(self, size):
        return self.read(size)


def test_the_commands_pack_and_unpack_without_a_node(source, tmp_path, capsys):
    packed, out = tmp_path / "x.car", tmp_path / "out"
    assert invoke(["ipfs", "pack", str(source), str(packed)]) == 0
    assert capsys.readouterr().out.strip() == blocks_of(DATA)[0]
    assert invoke(["ipfs", "unpack", str(packed), str(out)]) == 0
    assert out.stat().st_size == len(DATA)
    assert invoke(["ipfs", "unpack", str(packed), str(out), "--max-size", "100"]) == 6
    assert invoke(["ipfs", "pack", str(tmp_path / "none"), str(packed)]) == 2
    assert invoke(["ipfs", "unpack", str(packed), str(tmp_path / "none" / "out")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_changes_while_it_is_packed_leaves_no_archive(source, tmp_path, monkeypatch):
    real, turns = archive._import, []

    def changing(*arguments):
        if turns:
            source.write_bytes(b"other")
        turns.append(1)
        return real(*arguments)

    monkeypatch.setattr(archive, "_import", changing)
    with pytest.raises(ConfigError, match="changed"):
        archive.pack(source, tmp_path / "x.car")
    assert not (tmp_path / "x.car").exists()
