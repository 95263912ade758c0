"""What decides whether rows can be compared by their figures: what is proven, how surely, under what conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.compare.results import Cell

UNSAID = "not said"
_TRUST = {
    "ceremony": "ceremony",
    "transparent": "transparent",
    "insecure-test": "test only",
}


@dataclass(frozen=True)
class Fact:
    """One thing about a row that is no figure."""

    name: str
    label: str
    means: str
    function: Callable[[Cell], str]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _security(cell: Cell) -> str:
    """Return bits of soundness under each assumption; what the circuit itself tells comes before what is declared."""
    told = {
        name.removeprefix("security_bits_"): int(bits)
        for name, bits in (cell.circuit.facts if cell.circuit else {}).items()
        if name.startswith("security_bits_") and isinstance(bits, int)
    }
    declared = cell.backend.capabilities
    same = sorted(told.values()) == sorted(declared.security.values())
    bits = dict(declared.security) if same or not told else told
    if not bits:
        return f"{declared.security_bits} bits" if declared.security_bits else UNSAID
    return ", ".join(f"{number} bits ({assumption})" for assumption, number in bits.items())


def _trust(cell: Cell) -> str:
    if cell.circuit is None:
        return "transparent" if cell.backend.capabilities.transparent_setup else UNSAID
    return _TRUST.get(cell.circuit.setup_trust.trust, str(cell.circuit.setup_trust.trust))


def _private(cell: Cell) -> str:
    return ", ".join(cell.hidden) if cell.hidden else "nothing"


def _licence(cell: Cell) -> str:
    tool = cell.backend.capabilities.tool_licence
    own = cell.backend.licence or UNSAID
    return f"{own}; what it drives: {tool}" if tool else own


def _conditions(cell: Cell) -> str:
    given = cell.conditions
    quick = ", quick" if given.quick else ""
    return f"{given.threads} threads, inputs {given.inputs[:8]}, {given.input_count} of them{quick}"


FACTS: tuple[Fact, ...] = (
    Fact("proof_system", "Proof system", "The kind of proof.",
         lambda cell: cell.backend.capabilities.proof_system or UNSAID),
    Fact("field", "Field or curve", "What proofs are computed over.",
         lambda cell: cell.backend.capabilities.field or UNSAID),
    Fact("security", "Soundness", "Bits that forging a proof costs, under each assumption.", _security),
    Fact("setup_trust", "Setup", "Where the public parameters come from. Who made those of `test only` could forge.",
         _trust),
    Fact("zero_knowledge", "Zero-knowledge", "Whether a proof tells nothing beyond its statement.",
         lambda cell: _yes(cell.backend.capabilities.zero_knowledge)),
    Fact("private", "Private", "What neither proof nor key tells.", _private),
    Fact("post_quantum", "Post-quantum", "Whether soundness does without discrete logarithms and pairings.",
         lambda cell: _yes(cell.backend.capabilities.post_quantum)),
    Fact("licence", "Licence", "Under which terms the backend can be used.", _licence),
    Fact("version", "Version", "Of plugin and proof system together.", lambda cell: cell.backend.version),
    Fact("conditions", "Conditions", "What was the same for all; rows of other conditions are not comparable.",
         _conditions),
)  # fmt: skip
"""Every fact, in the order of a table's columns."""

SECURITY = ("proof_system", "field", "security", "setup_trust", "zero_knowledge", "private", "post_quantum")
"""Facts in which a difference means that one row's figures bought something else than the other's."""
