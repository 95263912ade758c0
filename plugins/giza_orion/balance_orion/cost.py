"""What a program costs to prove: rows of each component, and from them time and memory.

Every component is a table padded to a power of two, and the chosen preprocessed trace has room for 2^20 rows of each.
Columns are those of the prover's components (trace), and the seconds and bytes for a cell were fitted to measured
proofs on two cores (`benchmarks/orion.py` prints both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.model import IntegerModel
from balance_orion.generator import generate
from balance_orion.machine import TooLarge

if TYPE_CHECKING:
    from balance_orion.program import Program

MAX_ROWS = 2**20
"""Rows of the largest component."""
MAX_WORDS = 2**20
"""Words of the largest program that the verifier takes."""
MAX_MACS = 2**24
MAX_ELEMENTS = 2**22
"""Models beyond these cannot fit, and are refused without generating code."""
COMPONENTS = {
    "add": ("add_opcode_small", 59),
    "add_wide": ("add_opcode", 123),
    "mul": ("mul_opcode_small", 61),
    "mul_wide": ("mul_opcode", 206),
    "deref": ("assert_eq_opcode_double_deref", 55),
    "immediate": ("assert_eq_opcode_imm", 45),
    "jump": ("jnz_opcode_taken", 45),
    "return": ("ret_opcode", 40),
}
"""Component and columns of each kind of instruction."""
SPLIT = "memory_id_to_big"
"""Distinct values of more than 72 bits: they fill up to sixteen tables."""
FLOOR_CPU_SECONDS = 6.5
FLOOR_WALL_SECONDS = 4.0
CPU_SECONDS_PER_CELL = 1e-7
FLOOR_BYTES = 1_750_000_000
BYTES_PER_CELL = 13
CORES = 2


@dataclass(frozen=True)
class Cost:
    """Rows of the components that grow with the program, and what they cost."""

    rows: dict[str, int]
    cells: int
    steps: int
    words: int

    @property
    def largest(self) -> tuple[str, int]:
        """The component with most rows, of those that a trace has only one of."""
        return max(((name, rows) for name, rows in self.rows.items() if name != SPLIT), key=lambda item: item[1])

    @property
    def cpu_seconds(self) -> float:
        """Processor time of a proof."""
        return FLOOR_CPU_SECONDS + self.cells * CPU_SECONDS_PER_CELL

    @property
    def wall_seconds(self) -> float:
        """Time of a proof on two cores."""
        return FLOOR_WALL_SECONDS + self.cells * CPU_SECONDS_PER_CELL / CORES

    @property
    def memory_bytes(self) -> int:
        """Largest memory of a proof."""
        return FLOOR_BYTES + self.cells * BYTES_PER_CELL

    @property
    def problem(self) -> str | None:
        """Say why the program cannot be proven, if it cannot."""
        component, rows = self.largest
        if rows > MAX_ROWS:
            return f"{component} needs about {rows} rows, and the limit of one trace is {MAX_ROWS}"
        if self.words > MAX_WORDS:
            return f"the program has {self.words} words, and the limit is {MAX_WORDS}"
        return None


def cost(program: Program) -> Cost:
    """Count a program's rows, without running it."""
    rows: dict[str, int] = {}
    cells = 0
    columns = dict(COMPONENTS.values())
    for layer in program.layers:
        for kind, count in layer.counts.items():
            component, _ = COMPONENTS[kind]
            rows[component] = rows.get(component, 0) + count
    checks = len(program.check_sources)
    addresses = sum(layer.cells for layer in program.layers) + len(program.words) + checks
    wide = rows.get("mul_opcode", 0) + rows.get("add_opcode", 0)
    rows["range_check_builtin"] = checks
    rows["memory_address_to_id"] = -(-addresses // 16)
    rows[SPLIT] = wide // 2  # about as many of their results are narrow, or come again
    columns |= {"range_check_builtin": 20, "memory_address_to_id": 35, SPLIT: 61}
    for component, count in rows.items():
        cells += columns[component] << max(4, (count - 1).bit_length() if count > 1 else 0)
    return Cost(rows, cells, program.steps, len(program.words))


def with_likely_weights(structure: IntegerModel) -> IntegerModel:
    """Return a model of the structure with drawn weights, which costs about what a trained one does."""
    random = np.random.Generator(np.random.PCG64(0))
    weights = {}
    for place in structure.weight_nodes:
        fact = structure.facts[place]
        reals = np.clip(random.normal(0, 0.25, fact.shape), -1, 1) * fact.magnitude
        weights[place] = np.clip(np.rint(reals).astype(np.int64), fact.lo, fact.hi)
    return IntegerModel(structure.nodes, structure.outputs, weights)


def cost_of_structure(structure: IntegerModel) -> Cost | str:
    """Return what a model of this structure costs, or why it cannot be proven at all."""
    macs = sum(node.operation.macs([structure.facts[i] for i in node.inputs]) for node in structure.nodes)
    elements = sum(fact.size for fact in structure.facts)
    if macs > MAX_MACS or elements > MAX_ELEMENTS:
        return f"{macs} multiply-adds and {elements} values are more than one trace of {MAX_ROWS} rows can hold"
    try:
        found = cost(generate(with_likely_weights(structure)))
    except TooLarge as error:
        return str(error)
    return found.problem or found
