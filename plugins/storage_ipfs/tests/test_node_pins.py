"""What a node keeps is what its own list says, and a put is done when that list has it."""

from __future__ import annotations

import json

import pytest

from balance_core.errors import BlobNotFound, StorageError

from .faults import Server
from .scripted_node import ABSENT, ADDRESS, ScriptedNode, put

pytestmark = pytest.mark.plugin("ipfs")


@pytest.mark.parametrize("kind", ["indirect", "direct", "none"])
def test_a_put_without_a_confirmed_pin_fails(make, kind):
    def pin_ls(asked, wire):
        if kind == "none":
            node.fail(wire, f"path '{asked.address}' is not pinned")
        else:
            node.say(wire, {"Keys": {asked.address: {"Type": kind}}})

    node = ScriptedNode(pin_ls=pin_ls)
    with Server(node) as server, pytest.raises(StorageError, match="does not confirm"):
        put(make(rpc=server.url))


def test_pinning_and_unpinning_know_absent_content(make):
    node = ScriptedNode()
    with Server(node) as server:
        store = make(rpc=server.url)
        assert not store.has(ADDRESS)
        store.pin(ADDRESS)
        assert store.has(ADDRESS)
        assert list(store.pinned()) == [ADDRESS]
        store.unpin(ADDRESS)
        store.unpin(ADDRESS)
        assert not store.has(ADDRESS)
        for call in (store.pin, store.unpin):
            with pytest.raises(BlobNotFound):
                call(ABSENT)


PINS = [
    ADDRESS,
    "bafyreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi",
    "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
]
LISTS = {
    "a line each": "".join(f'{{"Cid":"{pin}","Type":"recursive"}}\n' for pin in PINS),
    "all at once": json.dumps({"Keys": {pin: {"Type": "recursive"} for pin in PINS}}),
}


@pytest.mark.parametrize("form", LISTS)
def test_only_listed_pins_of_files_are_listed(make, form):
    with Server(ScriptedNode(pin_ls=lambda _, wire: wire.answer(200, LISTS[form].encode()))) as server:
        assert list(make(rpc=server.url).pinned()) == [PINS[0], PINS[2]]


@pytest.mark.parametrize("nonsense", [b'{"Cid":5}\n', b"{}\n", b"5\n", b"\xff\n", b"[" * 10**6])
def test_a_list_of_pins_that_is_none_is_refused(make, nonsense):
    node = ScriptedNode(pin_ls=lambda _, wire: wire.answer(200, nonsense))
    with Server(node) as server, pytest.raises(StorageError, match="does not say"):
        list(make(rpc=server.url).pinned())
