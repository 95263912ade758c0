"""A node that does as it should, except for what a test makes it do otherwise, and what is stored on it."""

from __future__ import annotations

import io
import json
from hashlib import shake_128

from balance_core import cid

from .faults import blocks_of

DATA = shake_128(b"node").digest(2 * 2**18 + 5)
ADDRESS, BLOCKS = blocks_of(DATA)
ABSENT = cid.of_bytes(b"absent")


class ScriptedNode:
    """A node in memory that does as it should, except for the calls that a test replaces."""

    def __init__(self, **replaced):
        self.replaced = {name.replace("_", "/"): act for name, act in replaced.items()}
        self.blocks = dict(BLOCKS)
        self.pins = set()
        self.received = b""

    def __call__(self, asked, wire):
        name = asked.path.removeprefix("/api/v0/")
        act = self.replaced.get(name) or getattr(self, name.replace("/", "_"))
        act(asked, wire)

    def say(self, wire, *values, status=200):
        wire.answer(status, b"".join(json.dumps(value).encode() + b"\n" for value in values))

    def fail(self, wire, message):
        self.say(wire, {"Message": message, "Code": 0, "Type": "error"}, status=500)

    def version(self, _, wire):
        self.say(wire, {"Version": "1.2.3"})

    def add(self, asked, wire):
        self.received = asked.read_body()
        if len(self.received) == int(asked.headers["content-length"]):
            self.say(wire, {"Name": "blob", "Hash": cid.of_bytes(file_in(self.received)), "Size": "1"})

    def pin_add(self, asked, wire):
        self.pins.add(asked.address)
        self.say(wire, {"Pins": [asked.address]})

    def pin_rm(self, asked, wire):
        if asked.address not in self.pins:
            return self.fail(wire, "not pinned or pinned indirectly")
        self.pins.discard(asked.address)
        return self.say(wire, {"Pins": [asked.address]})

    def pin_ls(self, asked, wire):
        if not asked.address.startswith("b"):
            return self.say(wire, *({"Cid": pin, "Type": "recursive"} for pin in sorted(self.pins)))
        if asked.address not in self.pins:
            return self.fail(wire, f"path '{asked.address}' is not pinned")
        return self.say(wire, {"Keys": {asked.address: {"Type": "recursive"}}})

    def block_get(self, asked, wire):
        block = self.blocks.get(asked.address)
        if block is None:
            return self.fail(wire, "block was not found locally (offline): ipld: could not find it")
        return wire.answer(200, block)

    def block_stat(self, asked, wire):
        if asked.address in self.blocks:
            self.say(wire, {"Key": asked.address, "Size": 1})
        else:
            self.fail(wire, "not found")

    def cat(self, _, wire):
        wire.answer(200, DATA)


def file_in(body):
    """Return the one file of a multipart body."""
    boundary, _, rest = body.partition(b"\r\n")
    head, _, tail = rest.partition(b"\r\n\r\n")
    assert b'name="file"' in head
    assert b"application/octet-stream" in head
    content, _, end = tail.rpartition(b"\r\n" + boundary)
    assert end == b"--\r\n"
    return content


def put(store, data=DATA):
    return store.put(io.BytesIO(data))


def names(server):
    return [asked.path.removeprefix("/api/v0/") for asked in server.calls]


def refuses(status, body):
    def act(asked, wire):
        asked.read_body()
        wire.answer(status, body)

    return act
