"""The kit's promises, kept with the real prover; its models are a few neurons each."""

from __future__ import annotations

import struct

from balance_orion.machine import P

from balance_core.records import Proof
from balance_core.testing import BackendConformance

from .native_layout import MAGIC, SEGMENTS

WORD = 36
"""Bytes of a public word: the number of its value in the proof's memory, and the value."""


def output(data):
    """Return where the output's list of words begins, and how many there are."""
    at = len(MAGIC)
    at += 8 + WORD * struct.unpack_from("<Q", data, at)[0] + 16
    for _ in SEGMENTS:
        at += 17 if data[at] else 1
    return at + 8, struct.unpack_from("<Q", data, at)[0]


class TestOrion(BackendConformance):
    """Every case of the kit; the public values are the words of the output segment, with its end moved to match."""

    backend = "giza_orion"
    settings = {"bits": 10}
    tolerance = 0.05
    modulus = P

    def public_values(self, proof):
        at, count = output(proof.data)
        return [int.from_bytes(proof.data[at + WORD * i + 4 : at + WORD * (i + 1)], "little") for i in range(count)]

    def with_public_values(self, proof, values):
        data = proof.data
        at, count = output(data)
        ids = [data[at + WORD * i : at + WORD * i + 4] for i in range(count)]
        ids += ids[-1:] * (len(values) - count)
        words = b"".join(
            name + (value % 2**256).to_bytes(32, "little") for name, value in zip(ids, values, strict=False)
        )
        head = bytearray(data[: at - 8])
        segment = len(MAGIC) + 8 + WORD * struct.unpack_from("<Q", data, len(MAGIC))[0]
        start = struct.unpack_from("<I", head, segment + 4)[0]
        struct.pack_into("<I", head, segment + 12, start + len(values))
        return Proof(proof.backend, bytes(head) + struct.pack("<Q", len(values)) + words + data[at + WORD * count :])
