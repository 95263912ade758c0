"""The finished program: its words, the plan of its witness, where its outputs are, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_orion.machine import BUILTINS, P

if TYPE_CHECKING:
    import numpy as np

    from balance_orion.emitter import Source

MAGIC = b"balance-orion-program\x01"
_NATIVE_ORDER = (
    "output", "pedersen", "range_check", "ecdsa", "bitwise", "ec_op", "keccak", "poseidon", "range_check96",
    "add_mod", "mul_mod",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """What one stage costs, for people and for estimates."""

    name: str
    nodes: tuple[int, ...]
    turns: int
    steps: int
    checks: int
    cells: int
    words: int
    counts: dict[str, int]
    """Instructions run by kind: add, add_wide, mul, mul_wide, deref, immediate, jump, return."""


@dataclass(frozen=True)
class Program:
    """A Cairo program that proves one integer model, with everything that running it needs."""

    words: tuple[int, ...]
    main: int
    """Offset of `main`."""
    data: int
    """Offset of the data behind the code."""
    sources: tuple[Source, ...]
    check_sources: np.ndarray
    """For each range-checked cell in order, which source it holds an element of."""
    check_elements: np.ndarray
    inputs: int
    outputs: int
    layers: tuple[Layer, ...]
    notes: dict[int, str]
    """What begins at which offset."""

    def to_bytes(self) -> bytes:
        """Return the encoding that the prover takes and whose hash the verifier pins."""
        for word in self.words:
            if not 0 <= word < P:
                raise ValueError("a word is no element of the field")
        mask = sum(1 << _NATIVE_ORDER.index(name) for name in BUILTINS)
        head = MAGIC + mask.to_bytes(2, "little") + len(self.words).to_bytes(4, "little")
        return head + b"".join(word.to_bytes(32, "little") for word in self.words)

    @property
    def steps(self) -> int:
        """Steps of the run, but for the few of header and end."""
        return sum(layer.steps for layer in self.layers)

    def hints(self) -> list[tuple[int, int, int, int]]:
        """Return the hints: at the start of main, fill context and inputs, and the range-checked cells.

        They are the only cells that are not given by the program: everything else follows from its assertions.
        """
        output, check = (-2 - len(BUILTINS) + position for position in range(2))
        return [
            (self.main, 2, 2, output),
            (self.main, 4, self.inputs, output),
            (self.main, 4, len(self.check_sources), check),
        ]
