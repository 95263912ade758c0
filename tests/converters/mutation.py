"""Damaged files: bytes and words overwritten, spans cut, doubled and moved, by a seeded generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WORDS = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00")


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Return the data with one to eight faults."""
    out = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        if len(out) < 16:
            break
        at = int(random.integers(0, len(out) - 8))
        kind = int(random.integers(0, 7))
        span = int(random.integers(1, 64))
        if kind == 0:
            out[at] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            out[at] = int(random.integers(0, 256))
        elif kind == 2:
            out[at : at + 4] = WORDS[int(random.integers(0, len(WORDS)))]
        elif kind == 3:
            out[at : at + 4] = int(random.integers(0, len(out))).to_bytes(4, "little")
        elif kind == 4:
            del out[at : at + span]
        elif kind == 5:
            out[at:at] = out[at : at + span]
        else:
            other = int(random.integers(0, len(out) - 8))
            out[at : at + 4] = out[other : other + 4]
    return bytes(out)
