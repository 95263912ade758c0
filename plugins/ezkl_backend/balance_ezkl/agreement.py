"""Whether a circuit answers as the float model does: what is counted, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.records import TensorSpec

TOLERANCE = 0.02
"""How far a single number may be off, as a share of the spread of the float model's answers over the samples."""


@dataclass(frozen=True)
class Yardstick:
    """How two answers for one output are compared.

    Whole numbers and truth values must be equal. Of several numbers the index of the largest must be the same
    (top-1). A single number must be near: there is no index to compare.
    """

    spec: TensorSpec
    tolerance: float

    def agrees(self, answer: np.ndarray, expected: np.ndarray) -> bool:
        """Say whether an answer stands for the expected one."""
        if not self.spec.dtype.startswith("float"):
            return bool(np.array_equal(np.rint(answer), expected))
        if self.spec.size > 1:
            return int(np.argmax(answer)) == int(np.argmax(expected))
        return bool(np.abs(answer - expected).max(initial=0.0) <= self.tolerance)


def yardsticks(specs: Sequence[TensorSpec], outputs: Mapping[str, np.ndarray]) -> list[Yardstick]:
    """Return the yardstick of each output, given the float model's answers to all samples."""
    result = []
    for spec in specs:
        values = np.asarray(outputs[spec.name], dtype=np.float64)
        spread = float(values.max() - values.min()) if values.size else 0.0
        result.append(Yardstick(spec, TOLERANCE * max(spread, 0.1)))
    return result
