"""What a statement holds for an input: the numbers that a circuit takes for the numbers that were sent.

An integer model's quantisation is part of the verifying key, so that whoever holds the key computes the statement's
inputs himself. For other proof systems the nearest number that the statement's own scale has is what is expected.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core import canonical, registry
from balance_core.contracts import OpensInputs
from balance_core.errors import InvalidProof
from balance_core.integer import interface
from balance_core.integer.interface import STRUCTURE_PART
from balance_core.records import HiddenTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.records import Statement, Tensor, VerifyingKey


def stated_inputs(key: VerifyingKey, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...] | None:
    """Return a request's inputs as a statement under this key holds them; None where the key does not tell.

    Raises InvalidProof for a broken key, ConfigError for inputs that the model does not take.
    """
    structure = key.parts.get(STRUCTURE_PART)
    if structure is None:
        return None
    return interface.stated_inputs(structure, inputs)


def digest_of(inputs: tuple[Tensor, ...]) -> str:
    """Return the `inputs_digest` of a statement with these inputs."""
    return canonical.digest("inputs/1", *(tensor.to_json() for tensor in inputs))


def opens_inputs(backend: str) -> bool:
    """Say whether this proof system's verifier can open hidden inputs for whoever knows what blinds them."""
    return issubclass(registry.load("verifiers", backend), OpensInputs)


def check_inputs(
    statement: Statement,
    key: VerifyingKey,
    inputs: Mapping[str, np.ndarray],
    *,
    opened: tuple[Tensor, ...] = (),
) -> bool:
    """Raise InvalidProof unless the statement is about these inputs; False where it hides them.

    A hidden input can be compared only where it was `opened`, which shows what stands behind the commitment.
    """
    expected = stated_inputs(key, inputs)
    if any(isinstance(tensor, HiddenTensor) for tensor in statement.inputs):
        if opened and opened != expected:
            raise InvalidProof("the proof is about another input than the one that was sent")
        return bool(opened)
    if expected is not None:
        if expected != statement.inputs:
            raise InvalidProof("the proof is about another input than the one that was sent")
        return True
    if {tensor.name for tensor in statement.inputs} != inputs.keys():
        raise InvalidProof("the proof is about inputs of other names than those that were sent")
    for tensor in statement.inputs:
        if not isinstance(tensor, HiddenTensor):
            _check_nearest(tensor, inputs[tensor.name])
    return True


def _check_nearest(tensor: Tensor, array: np.ndarray) -> None:
    """Raise InvalidProof unless each integer is one that lies nearest to the number sent."""
    if tensor.shape != array.shape:
        raise InvalidProof(f"the proof's input {tensor.name!r} has the shape {tensor.shape}, {array.shape} was sent")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidProof(f"the input {tensor.name!r} holds NaN or infinity, for which no proof's number stands")
    half = tensor.scale / 2
    for integer, sent in zip(tensor.integers, array.reshape(-1).tolist(), strict=True):
        if abs((integer - tensor.zero_point) * tensor.scale - Fraction(sent)) > half:
            raise InvalidProof(f"the proof's input {tensor.name!r} holds another number than the one that was sent")
