"""The oracle: exact execution of an integer model on a batch, in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError, ToolFailed
from balance_core.integer.facts import SAFE
from balance_core.integer.operations import Clamp, Constant, Conv2d, Input, Less, MatMul, Operation, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.integer.facts import Fact
    from balance_core.integer.model import IntegerModel, Node
    from balance_core.integer.operations.base import Kernel

CHUNK_ELEMENTS = 2**24
"""A batch is cut into parts of about this many elements over all tensors, to bound memory."""


@dataclass(frozen=True)
class Execution:
    """The integers of a batch: each array has the batch as its first axis, then the tensor's shape."""

    outputs: dict[str, np.ndarray]
    reals: dict[str, np.ndarray]
    """The outputs as real numbers, (integer - zero point) * scale, in float64."""
    tensors: dict[int, np.ndarray] = field(default_factory=dict)
    """Every tensor by its node, when intermediates were asked for; those that depend on no input have batch 1."""


def execute(model: IntegerModel, batch: Mapping[str, np.ndarray], *, intermediates: bool = False) -> Execution:
    """Run a batch of real or integer inputs.

    Arrays are named as the model's inputs and have shape (N, *input shape). Floating-point and boolean arrays are
    real numbers and are quantised (`quantise`); integer arrays are real numbers too when the input's scale is 1, and
    must be quantised by the caller otherwise: use `execute_integers` for integers as they are.
    """
    integers = {}
    for place, op in model.inputs:
        array = _given(op, batch)
        integers[op.label] = quantise(array, model.nodes[place], op)
    _only_known(model, batch)
    return execute_integers(model, integers, intermediates=intermediates)


def execute_integers(
    model: IntegerModel, batch: Mapping[str, np.ndarray], *, intermediates: bool = False
) -> Execution:
    """Run a batch of quantised inputs; raises ConfigError for integers outside an input's interval."""
    if len(model.weights) != len(model.weight_nodes):
        raise ConfigError("this integer model has no weights", hint="load the file that its owner keeps")
    given = checked_integers(model, batch)
    size = len(next(iter(given.values()))) if given else 1
    step = max(1, CHUNK_ELEMENTS // plan(model).elements)
    parts = [
        _run(model, {place: array[start : start + step] for place, array in given.items()}, keep_all=intermediates)
        for start in range(0, size, step)
    ]
    tensors = {place: _join([part[place] for part in parts], model.facts[place].shape) for place in parts[0]}
    outputs, reals = {}, {}
    for output in model.outputs:
        integers = tensors[output.tensor]
        integers = np.ascontiguousarray(np.broadcast_to(integers, (size, *integers.shape[1:])))
        outputs[output.name] = integers
        reals[output.name] = dequantise(integers, model.nodes[output.tensor])
    return Execution(outputs, reals, tensors if intermediates else {})


def checked_integers(model: IntegerModel, batch: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """Return a batch of quantised inputs as int64, by node; raises ConfigError for what the model does not take."""
    _only_known(model, batch)
    given = {place: _integers(op, _given(op, batch)) for place, op in model.inputs}
    sizes = {array.shape[0] for array in given.values()}
    if len(sizes) > 1:
        raise ConfigError(f"the inputs hold batches of different sizes {sorted(sizes)}")
    return given


def quantise(array: np.ndarray, node: Node, op: Input) -> np.ndarray:
    """Return clamp(floor(x / scale + zero_point + 1/2), lo, hi), computed exactly.

    Raises ConfigError for NaN: an infinity saturates, but no integer stands for what is not a number.
    """
    if array.dtype.kind in "iub" and node.scale == 1:
        if np.can_cast(array.dtype, np.int64) and abs(node.zero_point) <= SAFE:
            moved = _clipped(array.astype(np.int64), op.lo - node.zero_point, op.hi - node.zero_point)
            return moved + node.zero_point
        return np.asarray(np.clip(array.astype(object) + node.zero_point, op.lo, op.hi), dtype=np.int64)
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"input {op.label} holds {array.dtype}, not numbers")
    reals = array.astype(np.float64)
    if np.isnan(reals).any():
        raise ConfigError(f"input {op.label} holds values that are not numbers")
    n, d = node.scale.numerator, node.scale.denominator
    exact = n & (n - 1) == 0 and d & (d - 1) == 0
    # Multiplying by a power of two is exact; far beyond the interval only the sign matters.
    scaled = _clipped(reals * (d / n), float(op.lo) - 2.0 - node.zero_point, float(op.hi) + 2.0 - node.zero_point)
    floor = np.floor(scaled)
    fraction = scaled - floor
    result = floor.astype(np.int64) + (fraction >= 0.5)
    if not exact:
        for at in zip(*np.nonzero(np.abs(fraction - 0.5) < 1e-6), strict=True):
            result[at] = _half_up(Fraction(float(reals[at])) / node.scale)
    return _clipped(result + node.zero_point, op.lo, op.hi)


def _clipped(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the array saturated, in less time than `np.clip` takes to begin."""
    result: np.ndarray = np.maximum(array, low)
    np.minimum(result, high, out=result)
    return result


def dequantise(integers: np.ndarray, node: Node) -> np.ndarray:
    """Return (integer - zero_point) * scale as float64."""
    result: np.ndarray = (integers - node.zero_point).astype(np.float64) * float(node.scale)
    return result


def _half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _given(op: Input, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    if op.label not in batch:
        raise ConfigError(f"input {op.label} is missing", hint=f"give an array of shape (N, {_shape(op)})")
    array = np.asarray(batch[op.label])
    if array.shape[1:] != op.to or array.ndim == 0 or array.shape[0] < 1 or array.dtype.kind not in "fiub":
        raise ConfigError(
            f"input {op.label} has shape {array.shape} and type {array.dtype}",
            hint=f"give numbers of shape (N, {_shape(op)})",
        )
    return array


def _shape(op: Input) -> str:
    return ", ".join(map(str, op.to))


def _only_known(model: IntegerModel, batch: Mapping[str, np.ndarray]) -> None:
    known = [op.label for _, op in model.inputs]
    unknown = sorted(set(batch) - set(known))
    if unknown:
        raise ConfigError(f"the model has no input {unknown[0]}", hint=f"its inputs are {', '.join(known)}")


def _integers(op: Input, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise ConfigError(f"input {op.label} holds {array.dtype}, not integers")
    if array.item(array.argmin()) < op.lo or array.item(array.argmax()) > op.hi:
        raise ConfigError(f"input {op.label} leaves its interval [{op.lo}, {op.hi}]")
    return np.ascontiguousarray(array, dtype=np.int64)


def _join(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if len(parts) == 1 or (parts[0].shape[0] == 1 and all(np.array_equal(parts[0], part) for part in parts)):
        return parts[0]
    return np.concatenate(parts).reshape(-1, *shape)


@dataclass(frozen=True)
class Step:
    """One node to be run: what it reads, whether its result must be checked, and what nobody reads after it."""

    place: int
    operation: Operation
    inputs: tuple[int, ...]
    operands: tuple[Fact, ...]
    kernel: Kernel
    checked: bool
    last: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What execution needs of a model, made once: the constants with a batch axis, and the steps."""

    constants: dict[int, np.ndarray]
    operands: dict[int, np.ndarray]
    """Constants that only exact float kernels read, as float64."""
    steps: tuple[Step, ...]
    elements: int
    """The number of elements of all tensors."""


def plan(model: IntegerModel) -> Plan:
    """Return the model's plan; it is kept with the model."""
    known: Plan | None = model.__dict__.get("_plan")
    if known is None:
        known = model.__dict__["_plan"] = _plan(model)
    return known


def _plan(model: IntegerModel) -> Plan:
    constants, steps = {}, []
    readers: dict[int, list[Step]] = {}
    for place, node in enumerate(model.nodes):
        operation = node.operation
        if isinstance(operation, Constant):
            values = model.weights[place] if operation.values is None else operation.values
            constants[place] = values[None]
        elif not isinstance(operation, Input):
            operands = tuple(model.facts[i] for i in node.inputs)
            last = tuple(i for i in set(node.inputs) if model.last_use[i] == place)
            # These three cannot leave the interval that was proven.
            checked = not isinstance(operation, (Wire, Clamp, Less))
            steps.append(Step(place, operation, node.inputs, operands, operation.kernel(operands), checked, last))
            for i in node.inputs:
                readers.setdefault(i, []).append(steps[-1])
    floats = {
        place: array.astype(np.float64)
        for place, array in constants.items()
        if readers.get(place) and all(_reads_floats(step) for step in readers[place])
    }
    return Plan(constants, floats, tuple(steps), sum(fact.size for fact in model.facts))


def _reads_floats(step: Step) -> bool:
    return isinstance(step.operation, (MatMul, Conv2d)) and step.operation.exact_in_float(step.operands)


def _run(model: IntegerModel, given: Mapping[int, np.ndarray], *, keep_all: bool) -> dict[int, np.ndarray]:
    """Run one part of a batch and return its outputs, or all tensors.

    Operands lie in their intervals, for every result is checked, and a kernel's peak on these intervals is within the
    safe width, for the model was: so no kernel can wrap around unless the interval analysis is wrong, and then a
    result leaves its interval.
    """
    prepared = plan(model)
    arrays = {**prepared.constants, **given, **prepared.operands}
    for step in prepared.steps:
        result = step.kernel([arrays[i] for i in step.inputs])
        if step.checked:
            _check(model, step.place, result)
        arrays[step.place] = result
        if not keep_all:
            for i in step.last:
                del arrays[i]
    if keep_all:
        return {place: prepared.constants.get(place, array) for place, array in sorted(arrays.items())}
    return {output.tensor: prepared.constants.get(output.tensor, arrays[output.tensor]) for output in model.outputs}


def _check(model: IntegerModel, place: int, result: np.ndarray) -> None:
    """Raise ToolFailed when a result leaves the interval that was proven."""
    fact = model.facts[place]
    low, high = result.item(result.argmin()), result.item(result.argmax())  # numpy's fastest way on small arrays
    if low < fact.lo or high > fact.hi:
        raise ToolFailed(f"{model.name_of(place)}: values [{low}, {high}] leave the interval [{fact.lo}, {fact.hi}]")
