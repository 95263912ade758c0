"""The verifying key's own part: which program, and how many queries its proofs must have."""

from __future__ import annotations

from dataclasses import dataclass

from balance_core.errors import InvalidProof

PROGRAM_PART = "program"
QUERIES = (70, 140)
"""The numbers of queries that are offered."""
_VERSION = 1
_BYTES = 34


@dataclass(frozen=True)
class ProgramKey:
    """The hash of the program, which holds weights and tables, and the strength of its proofs."""

    program_hash: bytes
    queries: int

    def to_bytes(self) -> bytes:
        """Return version, queries and hash."""
        return bytes([_VERSION, self.queries]) + self.program_hash

    @classmethod
    def read(cls, data: bytes) -> ProgramKey:
        """Read exactly what `to_bytes` writes; raises InvalidProof."""
        if len(data) != _BYTES or data[0] != _VERSION or data[1] not in QUERIES:
            raise InvalidProof("the verifying key is broken: it names no program and strength of this version")
        return cls(data[2:], data[1])
