"""What the core finds out about every backend alike: how faithful it is, and whether it is to be believed at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core import canonical
from balance_core.compare.results import Faithfulness
from balance_core.compare.subjects import differs
from balance_core.files import read_limited
from balance_core.model import fidelity
from balance_core.records import HiddenTensor, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from balance_core.compare.results import BackendRecord, ModelRecord
    from balance_core.contracts import Samples
    from balance_core.records import Statement

    Answer = tuple[Tensor, ...]

MAX_ANSWER_BYTES = 2**28
_NO_CONTEXT = "00" * 32
_NEAR = 0.02
"""Largest distance of a stated input from the one asked, as a share of the input's range, where a unit is smaller."""
_FAR_SHARE = 0.1
"""Share of an input's numbers that may be further away than that: those that a calibrated range cuts off."""


class Refusal(Exception):
    """A cell ran, and what it says is not to be believed: why. It never leaves the harness."""


def read_answers(path: Path) -> tuple[Answer, ...]:
    """Read what the execute stage wrote; raises ConfigError."""
    data = read_limited(path, max_size=MAX_ANSWER_BYTES, what="answers")
    value = canonical.decode(data, max_size=MAX_ANSWER_BYTES, what="answers")
    if not isinstance(value, list) or not all(isinstance(answer, list) for answer in value):
        raise Refusal("its answers are no list of tensors")
    return tuple(tuple(Tensor.from_value(tensor) for tensor in answer) for answer in value)


def faithfulness(asked: Samples, answers: Sequence[Answer]) -> Faithfulness:
    """Compare a backend's answers with the float model's; raises ConfigError where they do not belong together."""
    measured = fidelity.measure(asked.outputs, [{t.name: t.real() for t in answer} for answer in answers])
    finite = [array[np.isfinite(array)] for array in asked.outputs.values() if array.dtype.kind in "biuf"]
    spans = [float(array.max()) - float(array.min()) for array in finite if array.size]
    return Faithfulness(
        fidelity=measured,
        float_range=max(spans, default=0.0),
        distinct_answers=len({canonical.digest("answer", *(t.to_json() for t in answer)) for answer in answers}),
    )


def check_depends(asked: Samples, answers: Sequence[Answer]) -> None:
    """Raise Refusal for a backend that answers all alike where the float model does not."""
    if len(answers) > 1 and differs(asked.outputs) and all(answer == answers[0] for answer in answers[1:]):
        raise Refusal(
            f"its output does not depend on the input: {len(answers)} different inputs got one answer, "
            "as of a graph that was folded into a constant"
        )


def check_statement(
    statement: Statement,
    *,
    asked: Mapping[str, np.ndarray],
    answered: Answer,
    context: bytes,
    backend: BackendRecord,
    model: ModelRecord,
) -> float:
    """Return the share of the model's inputs and outputs that a proof covers.

    Raises Refusal where the proof states something else than was asked and answered.
    """
    if statement.outputs != answered:
        raise Refusal(f"it proved another answer than it gave: {_difference(statement.outputs, answered)}")
    expected = context.hex() if backend.capabilities.binds_context else _NO_CONTEXT
    if statement.context != expected:
        raise Refusal("its proof names another request than was asked")
    stated = {tensor.name: tensor for tensor in statement.inputs}
    covered = 0
    for spec in model.inputs:
        tensor = stated.get(spec.name)
        if tensor is not None and tensor.shape == spec.shape:
            covered += spec.size
            if not isinstance(tensor, HiddenTensor):
                _check_input(tensor, asked[spec.name])
    named = {tensor.name: tensor.shape for tensor in statement.outputs}
    covered += sum(spec.size for spec in model.outputs if named.get(spec.name) == spec.shape)
    total = sum(spec.size for spec in (*model.inputs, *model.outputs))
    return covered / total if total else 1.0


def _check_input(stated: Tensor, asked: np.ndarray) -> None:
    """Raise Refusal for a proof of another input than was asked.

    Quantisation moves each number by up to a unit, and cuts off the few that lie outside of its range.
    """
    wanted = asked.astype(np.float64)
    span = float(wanted.max() - wanted.min()) if wanted.size else 0.0
    distance = np.abs(stated.real() - wanted)
    if (distance > max(float(stated.scale), _NEAR * span)).mean() > _FAR_SHARE:
        raise Refusal(f"its proof is about another input {stated.name!r} than was asked")


def _difference(stated: Answer, answered: Answer) -> str:
    """Name the first number in which two answers differ."""
    if len(stated) != len(answered):
        return f"{len(stated)} outputs, not {len(answered)}"
    for one, other in zip(stated, answered, strict=True):
        if (one.name, one.shape) != (other.name, other.shape):
            return f"output {one.name!r} of shape {one.shape}, not {other.name!r} of shape {other.shape}"
        for place, (a, b) in enumerate(zip(one.integers, other.integers, strict=True)):
            if a != b:
                return f"number {place} of output {one.name!r} is {a}, not {b}"
        if one != other:
            return f"output {one.name!r} has the scale {one.scale}, not {other.scale}"
    return "in form"
