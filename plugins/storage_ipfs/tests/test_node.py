"""A node is told everything and believed nothing: a put ends in pinned content, or in a typed error that says why."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from balance_ipfs.address import Address
from balance_ipfs.node import Node

from balance_core import cid
from balance_core.errors import ContentMismatch, StorageError, StorageUnreachable

from .faults import Server, blocks_of
from .scripted_node import ADDRESS, DATA, ScriptedNode, file_in, names, put, refuses

pytestmark = pytest.mark.plugin("ipfs")


def test_a_put_sends_every_parameter_computes_the_address_itself_and_ends_with_a_confirmed_pin(make):
    node = ScriptedNode()
    with Server(node) as server:
        assert put(make(rpc=server.url)) == ADDRESS
        assert names(server) == ["add", "pin/add", "pin/ls"]
        assert file_in(node.received) == DATA
        assert {asked.method for asked in server.calls} == {"POST"}
        assert all(asked.query["timeout"].endswith("ms") for asked in server.calls)
        sent = server.calls[0].query
    wanted = "cid-version=1&raw-leaves=true&chunker=size-262144&cid-base=base32&hash=sha2-256&pin=false&inline=false"
    assert dict(pair.split("=") for pair in wanted.split("&")).items() <= sent.items()
    assert sent["max-file-links"] == "174"
    assert node.pins == {ADDRESS}


@pytest.mark.parametrize("text", [str(Address.parse(ADDRESS)), "B" + ADDRESS[1:].upper(), None])
def test_an_address_in_another_base_is_the_same_address(make, text):
    answer = text or "f" + Address.parse(ADDRESS).binary.hex()
    node = ScriptedNode(add=lambda asked, wire: (asked.read_body(), node.say(wire, {"Hash": answer})))
    with Server(node) as server:
        assert put(make(rpc=server.url)) == ADDRESS


@pytest.mark.parametrize(
    "answer",
    [
        cid.of_bytes(b"other"),
        str(Address(0, 0x70, Address.parse(ADDRESS).digest)),
        blocks_of(DATA, cid.Layout(2**20))[0],
    ],
    ids=["other content", "other version", "other layout"],
)
def test_a_node_that_comes_to_another_address_is_told_to_pin_nothing(make, answer):
    node = ScriptedNode(add=lambda asked, wire: (asked.read_body(), node.say(wire, {"Hash": answer})))
    with Server(node) as server:
        with pytest.raises(ContentMismatch, match=answer) as caught:
            put(make(rpc=server.url))
        assert names(server) == ["add"]
    assert "nothing was pinned" in caught.value.hint


def killed(asked, _):
    asked.body.read(100_000)


def dumb(asked, wire):
    asked.read_body()
    wire.answer(200, b"")


def late_error(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Name":"blob"}\n{"Message":"disk full","Code":0,"Type":"error"}\n')


def half_answer(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Hash":"baf', content_length="100")


def garbage(asked, wire):
    asked.read_body()
    wire.answer(200, b"[" * 100_000)


def flood(asked, wire):
    asked.read_body()
    wire.head(200, {})
    while True:
        wire.send(b"x" * 65536)


def no_address(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Hash":"../../etc/passwd"}\n')


def hanging(asked, wire):
    asked.read_body()
    wire.hang()


def deaf(_, wire):
    time.sleep(4)
    wire.hang()


ADD_FAULTS = {
    "broke off": (killed, StorageUnreachable),
    "does not say": (dumb, StorageError),
    "disk full": (late_error, StorageError),
    "broke": (half_answer, StorageUnreachable),
    "does not say ": (garbage, StorageError),
    "a node does not say": (flood, StorageError),
    "nobody can use": (no_address, StorageError),
    "did not answer": (hanging, StorageUnreachable),
    "no space left on device": (
        refuses(500, b'{"Message":"no space\\nleft on\\u001b device","Code":0}'),
        StorageError,
    ),
    "500: <html>": (refuses(500, b"<html>\x1b[2J"), StorageError),
    "500: without a reason": (refuses(500, b""), StorageError),
    "refuses the call add": (refuses(403, b"403 - Forbidden"), StorageUnreachable),
    "(401)": (refuses(401, b""), StorageUnreachable),
    "does not know the call": (refuses(404, b"404 page not found"), StorageUnreachable),
    "(405)": (refuses(405, b"405 - Method Not Allowed"), StorageUnreachable),
}


@pytest.mark.parametrize("said", ADD_FAULTS)
def test_an_add_that_fails_is_a_typed_error_is_made_once_and_pins_nothing(make, said):
    act, kind = ADD_FAULTS[said]
    with Server(ScriptedNode(add=act)) as server:
        with pytest.raises(kind) as caught:
            put(make(rpc=server.url, timeout=0.5, slowest=10**7, retries=2))
        assert names(server) == ["add"]
    assert said in caught.value.message + " "
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_a_node_that_does_not_listen_is_given_up(make):
    large = bytes(2**25)
    started = time.monotonic()
    with Server(ScriptedNode(add=deaf)) as server, pytest.raises(StorageUnreachable, match="within"):
        put(make(rpc=server.url, timeout=0.3, slowest=10**9), large)
    assert time.monotonic() - started < 10


class Shrinking(io.BytesIO):
    """A source that is cut off once it was measured."""

    def seek(self, position, whence=0):
        found = super().seek(position, whence)
        if whence == io.SEEK_END:
            self.truncate(len(DATA) - 1)
        return found


def test_a_source_that_gets_shorter_while_it_is_sent_is_found(make):
    with Server(ScriptedNode()) as server:
        with pytest.raises(StorageError, match="became shorter"):
            make(rpc=server.url).put(Shrinking(DATA))
        assert "pin/add" not in names(server)


class Growing(io.BytesIO):
    """A source that is written to once it was measured."""

    def seek(self, position, whence=0):
        found = super().seek(position, whence)
        if whence == io.SEEK_END:
            self.write(b"more")
        return found


def test_a_source_that_gets_longer_while_it_is_sent_is_found(make):
    with Server(ScriptedNode()) as server:
        with pytest.raises(StorageError, match="became longer"):
            make(rpc=server.url).put(Growing(DATA))
        with Path("/dev/zero").open("rb") as endless, pytest.raises(StorageError, match="became longer"):
            make(rpc=server.url).put(endless)
        assert "pin/add" not in names(server)


def test_a_file_without_an_end_to_go_to_is_stored(make):
    class Told(io.BytesIO):
        def seek(self, position, whence=0):
            if whence == io.SEEK_END:
                raise OSError(22, "Invalid argument")
            return super().seek(position, whence)

    with Server(ScriptedNode()) as server:
        assert make(rpc=server.url).put(Told(DATA)) == ADDRESS


def test_a_node_that_answers_before_it_has_everything_is_not_believed(make, monkeypatch):
    def early(_, content, size):
        del size
        return Address.parse(cid.of_bytes(next(iter(content))))

    monkeypatch.setattr(Node, "add", early)
    with pytest.raises(StorageError, match="before it had been sent everything"):
        make(rpc="http://127.0.0.1:1").put(io.BytesIO(bytes(3 * 2**20)))


def test_a_source_of_unknown_size_is_stored(make):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    with Server(ScriptedNode()) as server:
        assert make(rpc=server.url).put(Pipe(DATA)) == ADDRESS


def test_a_source_is_stored_from_where_it_stands(make):
    source = io.BytesIO(b"head" + DATA)
    source.seek(4)
    with Server(ScriptedNode()) as server:
        assert make(rpc=server.url).put(source) == ADDRESS
