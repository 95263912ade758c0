"""What the registry's adapters are told of one circuit: how public values are read as a statement of the core's.

The adapters write the statement as the core does, so what they are told is the text around the numbers. It is what
their `key` is the digest of: whoever holds a verifying key makes it again and compares.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from balance_core import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.records import Tensor

_LAYOUT = "(bytes,(uint256,int256,int256,bytes,bytes)[],(uint256,int256,int256,bytes,bytes)[])"
_INTEGERS = re.compile(rb'"integers":\[[0,]*\]')
_WORD = 32

Reading = tuple[bytes, list[tuple[int, int, int, bytes, bytes]], list[tuple[int, int, int, bytes, bytes]]]
"""The contracts' `Layout`, as the ABI takes it."""


def layout(
    circuit_id: str,
    commitment_id: str | None,
    inputs: Iterable[tuple[Tensor, int, int]],
    outputs: Iterable[tuple[Tensor, int, int]],
) -> Reading:
    """Return how public values are read: each tensor's form (its integers all 0), smallest and largest value."""
    start = canonical.encode({"circuit_id": circuit_id, "commitment_id": commitment_id, "context": ""})
    return start.removesuffix(b'"}'), [_tensor(*one) for one in inputs], [_tensor(*one) for one in outputs]


def reusable(reading: Reading, words: bytes, proof_bytes: int) -> bytes:
    """Return the material of `EzklReusable`, for a circuit's words."""
    from eth_abi.abi import encode

    split = [words[i : i + _WORD] for i in range(0, len(words), _WORD)]
    return bytes(encode([_LAYOUT, "uint256", "bytes32[]"], [reading, proof_bytes, split]))


def dedicated(reading: Reading, verifier: str, code_hash: bytes, proof_bytes: int) -> bytes:
    """Return the material of `EzklDedicated`, for a generated contract and the Keccak-256 of its code."""
    from eth_abi.abi import encode

    return bytes(encode([_LAYOUT, "uint256", "address", "bytes32"], [reading, proof_bytes, verifier, code_hash]))


def dedicated_contract(material: bytes) -> str | None:
    """Return the generated contract that the material of `EzklDedicated` names, or None for what is no material."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        return str(decode([_LAYOUT, "uint256", "address", "bytes32"], material)[2])
    except (DecodingError, OverflowError):
        return None


def _tensor(form: Tensor, low: int, high: int) -> tuple[int, int, int, bytes, bytes]:
    """Split a tensor's text where its numbers stand. Keys are in order, so that nothing free comes before them."""
    text = form.to_json()
    found = _INTEGERS.search(text)
    if found is None or any(form.integers):
        raise ValueError("a tensor's form has no other integers than 0")
    return len(form.integers), low, high, text[: found.start() + len(b'"integers":[')], text[found.end() - 1 :]
