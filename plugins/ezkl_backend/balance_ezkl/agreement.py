"""Whether an answer of a circuit stands for the float model's: the core's notion of a decision, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from balance_core.model import fidelity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOLERANCE = 0.02
"""How far numbers may be off where a model decides nothing, as a share of the spread of its answers."""


@dataclass(frozen=True)
class Yardstick:
    """The float model's answers to all samples, by output name, each of shape (N, *output shape).

    Answers are compared as `balance_core.model.fidelity` does: by the label, or else by the position of the largest
    number. A model that gives one number decides nothing: then the number must be near.
    """

    outputs: Mapping[str, np.ndarray]
    tolerances: Mapping[str, float]

    @classmethod
    def of(cls, outputs: Mapping[str, np.ndarray]) -> Yardstick:
        """Take the float model's answers as the measure."""
        return cls(outputs, {name: TOLERANCE * _spread(array) for name, array in outputs.items()})

    def agrees(self, index: int, answer: Mapping[str, np.ndarray]) -> bool:
        """Say whether an answer to this sample stands for the float model's."""
        expected = {name: array[index : index + 1] for name, array in self.outputs.items()}
        disagreements = fidelity.measure(expected, [answer]).disagreements
        if disagreements is not None:
            return disagreements == 0
        return all(
            float(fidelity.difference(row[0], answer[name]).max(initial=0.0)) <= self.tolerances[name]
            for name, row in expected.items()
        )

    @property
    def has_margins(self) -> bool:
        """Whether it can be told how hard a sample is."""
        return self._margins() is not None

    def hardest_first(self, indices: Sequence[int]) -> list[int]:
        """Put first the samples whose largest number is the least above the next: they are the first to flip."""
        margins = self._margins()
        if margins is None:
            return list(indices)
        return sorted(indices, key=lambda index: (float(margins[index]), index))

    def _margins(self) -> np.ndarray | None:
        for array in self.outputs.values():
            if array.dtype.kind == "f" and array.ndim > 1 and array.shape[-1] > 1:
                ranked = np.sort(np.asarray(array, dtype=np.float64), axis=-1)
                return np.asarray((ranked[..., -1] - ranked[..., -2]).reshape(len(array), -1).min(axis=1))
        return None


def _spread(array: np.ndarray) -> float:
    values = np.asarray(array, dtype=np.float64)
    return max(float(np.ptp(values)), float(np.abs(values).max(initial=0.0)) / 100) if values.size else 0.0
