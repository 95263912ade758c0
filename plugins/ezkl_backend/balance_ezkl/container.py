"""A proof's bytes: one strict binary form, so that no two byte strings are the same proof.

8 bytes of magic, the number of instances and the length of the proof (4 bytes each, big endian), the instances (32
bytes each, big endian, below the field's order) and ezkl's proof; not a byte more.
"""

from __future__ import annotations

from dataclasses import dataclass

from balance_core.bn254 import R
from balance_core.errors import InvalidProof
from balance_ezkl.field import FELT_BYTES

MAGIC = b"BALEZKL\x01"
MAX_PROOF_BYTES = 2**22
"""More than any circuit's: a proof is a few hundred bytes for each column."""
_HEADER = len(MAGIC) + 8


@dataclass(frozen=True)
class Contents:
    """What a proof consists of: the public values, as residues in the circuit's order, and ezkl's own bytes."""

    instances: tuple[int, ...]
    proof: bytes

    def to_bytes(self) -> bytes:
        """Return the one encoding."""
        header = MAGIC + len(self.instances).to_bytes(4, "big") + len(self.proof).to_bytes(4, "big")
        return b"".join([header, *(value.to_bytes(FELT_BYTES, "big") for value in self.instances), self.proof])


def decode(data: bytes, *, instances: int) -> Contents:
    """Read a proof of a circuit with so many public values; raises InvalidProof for anything but the one encoding."""
    if not data.startswith(MAGIC) or len(data) < _HEADER:
        raise InvalidProof("these bytes are no ezkl proof")
    count = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")
    length = int.from_bytes(data[len(MAGIC) + 4 : _HEADER], "big")
    if count != instances:
        raise InvalidProof(f"the proof states {count} public values, the circuit has {instances}")
    if length > MAX_PROOF_BYTES:
        raise InvalidProof(f"the proof says that it has {length} bytes, more than any circuit's")
    end = _HEADER + count * FELT_BYTES
    if len(data) != end + length:
        raise InvalidProof(f"the proof has {len(data)} bytes, its header says {end + length}")
    values = tuple(int.from_bytes(data[i : i + FELT_BYTES], "big") for i in range(_HEADER, end, FELT_BYTES))
    beyond = next((i for i, value in enumerate(values) if value >= R), None)
    if beyond is not None:
        raise InvalidProof(f"public value {beyond} is not reduced by the field's order")
    return Contents(values, data[end:])
