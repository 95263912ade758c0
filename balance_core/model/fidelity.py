"""How faithful proven answers are to the float model's: agreement of the decision, and size of the errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.records import Fidelity, OutputFidelity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_MOST = sys.float_info.max


def measure(floats: Mapping[str, np.ndarray], proven: Sequence[Mapping[str, np.ndarray]]) -> Fidelity:
    """Compare the float model's answers, arrays of shape (N, *output shape), with N proven answers by output name.

    The decision is the integer label where the model has one, else the position of the largest number along the last
    axis of the first output with several; a model that gives one number decides nothing. A sample agrees when all its
    decisions do. An error without bound counts as the largest double. Raises ConfigError where the answers do not
    belong together.
    """
    count = len(proven)
    if not count or any(len(array) != count for array in floats.values()):
        raise ConfigError(f"{count} proven answers cannot be compared with the float model's answers")
    outputs = []
    total = elements = 0.0
    for name, expected in floats.items():
        if any(name not in answer or answer[name].shape != expected.shape[1:] for answer in proven):
            raise ConfigError(f"the proven answers lack the output {name!r}, or have it in another shape")
        errors = difference(expected, np.stack([answer[name] for answer in proven]))
        total, elements = total + float(errors.sum()), elements + errors.size
        largest, mean = (float(errors.max()), float(errors.mean())) if errors.size else (0.0, 0.0)
        outputs.append(OutputFidelity(name=name, largest_error=min(largest, _MOST), mean_error=min(mean, _MOST)))
    disagreements = _disagreements(floats, proven)
    return Fidelity(
        samples=count,
        disagreements=disagreements,
        top1_agreement=None if disagreements is None else (count - disagreements) / count,
        largest_error=max((output.largest_error for output in outputs), default=0.0),
        mean_error=min(total / elements, _MOST) if elements else 0.0,
        outputs=tuple(outputs),
    )


def difference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return |left - right| as float64; 0 where both are the same infinity or NaN, infinity where one alone is."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        result = np.abs(a - b)
    return np.where(same, 0.0, np.where(np.isnan(result), np.inf, result))


def _disagreements(floats: Mapping[str, np.ndarray], proven: Sequence[Mapping[str, np.ndarray]]) -> int | None:
    for name, expected in floats.items():
        if expected.dtype.kind in "biu" and expected[0].size == 1:
            return sum(bool((answer[name] != row).any()) for row, answer in zip(expected, proven, strict=True))
    for name, expected in floats.items():
        if expected.ndim > 1 and expected[0].size > 1:
            return sum(
                bool((answer[name].argmax(axis=-1) != row.argmax(axis=-1)).any())
                for row, answer in zip(expected, proven, strict=True)
            )
    return None
