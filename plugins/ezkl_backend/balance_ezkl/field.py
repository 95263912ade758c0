"""Numbers as ezkl writes them: elements of BN254's scalar field, which hold signed fixed-point integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.bn254 import R

if TYPE_CHECKING:
    from collections.abc import Iterable

FELT_BYTES = 32
LIMB_BITS = 16
"""Bits of each of the integers that a context is cut into."""
OUTPUT_LIMIT = 2**127
"""What the size of an output stays below: ezkl computes in 128-bit integers."""


def encode(value: int) -> str:
    """Return ezkl's text for a signed integer: 32 bytes of the residue, little endian, as hex."""
    return (value % R).to_bytes(FELT_BYTES, "little").hex()


def decode(text: str) -> int:
    """Return the signed integer, of the smallest size, that ezkl's text stands for."""
    return signed(int.from_bytes(bytes.fromhex(text), "little"))


def signed(residue: int) -> int:
    """Return the integer of the smallest size with this residue: the upper half of the field is negative."""
    return residue if residue <= R // 2 else residue - R


def encode_all(values: Iterable[int]) -> list[str]:
    """Return ezkl's texts for signed integers."""
    return [encode(value) for value in values]
