"""A file is read block by block, and what its author made of it decides nothing but its bytes."""

from __future__ import annotations

import contextlib
import io
from hashlib import sha256, shake_128

import pytest
from balance_ipfs.address import DAG_PB, RAW, Address
from balance_ipfs.content import MAX_LEVELS, Content, ContentStream
from balance_ipfs.node_form import decode
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core import cid
from balance_core.cid import _field, _number, _varint
from balance_core.errors import BalanceError, BlobNotFound, ContentMismatch, StorageError

from .faults import blocks_of
from .test_addresses import LAYOUTS

pytestmark = pytest.mark.plugin("ipfs")

LARGE = 2**40


class Kept:
    """Blocks in memory, which count what they are asked for."""

    def __init__(self, blocks):
        self.blocks = dict(blocks)
        self.asked = 0

    def get(self, address, **_):
        self.asked += 1
        if str(address) not in self.blocks:
            raise BlobNotFound(f"no {address}")
        return self.blocks[str(address)]

    def close(self):
        pass

    def add(self, block, codec=DAG_PB):
        address = Address(1, codec, sha256(block).digest())
        self.blocks[str(address)] = block
        return address


def read(address, blocks, *, max_size=LARGE):
    root = address if isinstance(address, Address) else Address.parse(address)
    return ContentStream(Content(root, blocks, max_size=max_size)).readall()


def unixfs(kind=2, data=None, total=None, sizes=(), extra=b""):
    own = b"" if data is None else _field(2, data)
    size = b"" if total is None else _number(3, total)
    return _number(1, kind) + own + size + b"".join(_number(4, size) for size in sizes) + extra


def link(address, name=b"", total=0):
    return _field(2, _field(1, address.binary) + _field(2, name) + _number(3, total))


def node(children, **described):
    return b"".join(link(child) for child in children) + _field(1, unixfs(**described))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [0, 1, 2**18, 2**18 + 1, 3 * 2**20 + 7])
def test_files_of_all_usual_layouts_are_read(layout, size):
    data = shake_128(b"x").digest(size)
    address, blocks = blocks_of(data, LAYOUTS[layout])
    assert read(address, Kept(blocks), max_size=size) == data
    with pytest.raises(StorageError):
        read(address, Kept(blocks), max_size=size - 1)


@given(st.binary(max_size=300), st.integers(1, 9), st.integers(2, 4), st.booleans(), st.integers(0, 1))
@settings(deadline=None)
def test_any_tree_of_four_levels_is_read_and_no_deeper_one(data, chunk, links, raw, version):
    layout = cid.Layout(chunk_bytes=chunk, max_links=links, raw_leaves=raw and version == 1, version=version)
    address, blocks = blocks_of(data, layout)
    levels, leaves = 0, -(-len(data) // chunk)
    while leaves > 1:
        levels, leaves = levels + 1, -(-leaves // links)
    if levels <= MAX_LEVELS:
        assert read(address, Kept(blocks)) == data
    else:
        with pytest.raises(StorageError, match="levels"):
            read(address, Kept(blocks))


def test_parts_of_a_node_come_before_its_children_and_modes_mean_nothing():
    kept = Kept({})
    leaf = kept.add(b"child", RAW)
    inner = node([leaf], data=b"own ", total=9, sizes=[5], extra=_number(7, 0o644) + _field(8, _number(1, 5)))
    assert read(kept.add(inner), kept) == b"own child"


def test_the_order_of_links_and_data_in_a_node_does_not_matter():
    kept = Kept({})
    leaf = kept.add(b"child", RAW)
    assert read(kept.add(_field(1, unixfs(total=5, sizes=[5])) + link(leaf)), kept) == b"child"


LEAF = Address(1, RAW, sha256(b"child").digest())
MADE = {
    "a folder": node([LEAF], kind=1),
    "a large folder": node([LEAF], kind=5),
    "a symbolic link": _field(1, unixfs(kind=4, data=b"/etc/passwd")),
    "no kind": _field(1, _number(3, 0)),
    "says nothing": link(LEAF),
    "links and": node([LEAF], total=5),
    "empty parts": node([LEAF], total=0, sizes=[0]),
    "and it says": node([LEAF], total=6, sizes=[5]),
    "leads nowhere": _field(2, _number(3, 5)) + _field(1, unixfs(total=5, sizes=[5])),
    "behind its address": _field(2, _field(1, LEAF.binary + b"x")) + _field(1, unixfs(total=5, sizes=[5])),
    "no link has": _field(2, _field(1, LEAF.binary) + _field(9, b"x")) + _field(1, unixfs(total=5, sizes=[5])),
    "field 9": node([LEAF], total=5, sizes=[5]) + _field(9, b"x"),
    "field 6": _field(1, unixfs(total=0, extra=_number(6, 1))),
    "field 1 ": _field(1, unixfs(total=0)) * 2,
    "identity": _field(2, _field(1, b"\x01\x55\x00\x05child")) + _field(1, unixfs(total=5, sizes=[5])),
    "cut off": node([LEAF], total=5, sizes=[5])[:-1],
    "of a kind": b"\x0d\0\0\0\0",
    "longer than needed": b"\x8a\x00",
    "does not end": b"\x0a" + b"\xff" * 12,
}


@pytest.mark.parametrize("why", MADE)
def test_what_is_no_file_is_refused_with_the_reason(why):
    kept = Kept({str(LEAF): b"child"})
    with pytest.raises(StorageError, match=why) as caught:
        read(kept.add(MADE[why]), kept)
    assert caught.value.hint


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_are_more_than_refused(block):
    with contextlib.suppress(BalanceError):
        decode(Address(1, DAG_PB, sha256(block).digest()), block)


@pytest.mark.parametrize("said", [4, 6])
def test_a_part_of_another_size_than_announced_is_found(said):
    kept = Kept({})
    leaf = kept.add(b"child", RAW)
    with pytest.raises(ContentMismatch, match="announced"):
        read(kept.add(node([leaf], total=said, sizes=[said])), kept)
    wrapped = kept.add(_field(1, unixfs(data=b"child", total=5)))
    with pytest.raises(ContentMismatch, match="announced"):
        read(kept.add(node([wrapped], total=said, sizes=[said])), kept)


def test_a_bomb_of_nodes_is_refused_before_it_is_read():
    """Seven levels of a hundred links to one leaf: ten petabytes out of a few kilobytes."""
    kept = Kept({})
    below, size = kept.add(bytes(100), RAW), 100
    for _ in range(7):
        below, size = kept.add(node([below] * 100, total=size * 100, sizes=[size] * 100)), size * 100
    with pytest.raises(StorageError, match="more than the"):
        read(below, kept, max_size=2**30)
    assert kept.asked == 1
    with pytest.raises(StorageError, match="levels"):
        read(below, kept, max_size=size)
    assert kept.asked < 10


def test_a_million_tiny_parts_are_not_fetched():
    kept = Kept({})
    leaf = kept.add(b"x", RAW)
    wide = kept.add(node([leaf] * 1000, total=1000, sizes=[1] * 1000))
    wider = kept.add(node([wide] * 1000, total=10**6, sizes=[1000] * 1000))
    with pytest.raises(StorageError, match="too small pieces"):
        read(wider, kept)
    assert kept.asked < 10_000


def test_a_block_larger_than_any_node_passes_on_is_not_asked_for():
    kept = Kept({})
    leaf = Address(1, RAW, bytes(32))
    with pytest.raises(StorageError, match="more than any node passes on"):
        read(kept.add(node([leaf], total=2**30, sizes=[2**30])), kept)


def test_a_stream_that_failed_fails_again_and_never_just_ends():
    address, blocks = blocks_of(bytes(2**18) + bytes(2**18 - 1) + b"x")
    kept = Kept(blocks)
    del kept.blocks[max(blocks, key=lambda found: blocks[found].endswith(b"x"))]
    stream = io.BufferedReader(ContentStream(Content(Address.parse(address), kept, max_size=LARGE)), 1000)
    assert stream.read(100) == bytes(100)
    for _ in range(3):
        with pytest.raises(BlobNotFound):
            b"".join(cid.chunks_of(stream, 2**16))


def test_varints_are_those_of_the_core():
    from balance_ipfs.address import read_varint, write_varint

    for number in (0, 1, 127, 128, 300, 2**32, 2**62):
        assert write_varint(number) == _varint(number)
        assert read_varint(_varint(number), 0) == (number, len(_varint(number)))
