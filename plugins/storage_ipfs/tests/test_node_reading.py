"""What is read from a node is proven block by block, and a node that does not give it is not waited for."""

from __future__ import annotations

import time

import pytest

from balance_core import cid
from balance_core.errors import BlobNotFound, StorageUnreachable

from .faults import Server, honest
from .scripted_node import ABSENT, ADDRESS, BLOCKS, DATA, ScriptedNode, names

pytestmark = pytest.mark.plugin("ipfs")


def test_a_node_that_searches_without_end_is_not_waited_for(make):
    started = time.monotonic()
    with Server(ScriptedNode(block_get=lambda _, wire: wire.hang())) as server:
        store = make(rpc=server.url, timeout=0.3)
        for call in (store.pin, lambda address: store.open(address, max_size=1)):
            with pytest.raises(StorageUnreachable, match="did not answer"):
                call(ABSENT)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("said", ["context deadline exceeded", "Failed to get block: request timed out"])
def test_a_search_that_the_node_gave_up_found_nothing(make, said):
    node = ScriptedNode(block_get=lambda _, wire: node.fail(wire, said))
    with Server(node) as server, pytest.raises(BlobNotFound):
        make(rpc=server.url).open(ABSENT, max_size=1)


@pytest.mark.parametrize(
    "cat",
    [
        lambda _, wire: wire.answer(200, bytes(len(DATA))),
        lambda _, wire: wire.answer(200, DATA[: 2**18 + 7]),
        lambda _, wire: wire.answer(200, DATA[:1000], content_length=str(len(DATA))),
        lambda _, wire: wire.answer(500, b"no"),
        lambda _, wire: wire.hang(),
    ],
    ids=["lies", "ends early", "breaks off", "refused", "silent"],
)
def test_content_that_comes_in_one_stream_is_checked_leaf_by_leaf_and_done_without_if_it_fails(make, cat):
    with Server(ScriptedNode(cat=cat)) as server:
        with make(rpc=server.url, timeout=0.5).open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        assert names(server).count("block/get") > 1


def test_one_stream_is_enough_where_it_is_right(make):
    with Server(ScriptedNode()) as server:
        with make(rpc=server.url).open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        assert names(server) == ["block/get", "cat"]


def test_a_gateway_stands_in_for_a_node_that_is_down(make):
    with Server(honest(BLOCKS)) as gateway:
        store = make(gateway.url, rpc="http://127.0.0.1:1")
        with store.open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        with pytest.raises(StorageUnreachable):
            store.has(ADDRESS)
