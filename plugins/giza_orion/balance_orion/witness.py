"""The tape: context, inputs, and all range-checked cells, computed at once from the executor's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.operations import ArgMax, Max
from balance_orion.kernels import KERNELS, Choosing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.integer.model import IntegerModel
    from balance_core.integer.operations.base import Reduction
    from balance_orion.emitter import Source
    from balance_orion.program import Program

COMPLEMENT = ":complement"


def tape(program: Program, model: IntegerModel, tensors: Mapping[int, np.ndarray], context: bytes) -> bytes:
    """Return the bytes that the program's hints read; `tensors` are those of an execution of one sample."""
    halves = [int.from_bytes(context[start : start + 16], "big") for start in (0, 16)]
    inputs = [tensors[place][0].reshape(-1) for place, _ in model.inputs]
    return b"".join(
        [
            *(half.to_bytes(32, "little") for half in halves),
            *(np.asarray(array, dtype="<i8").tobytes() for array in inputs),
            np.asarray(checks(program, model, tensors), dtype="<i8").tobytes(),
        ]
    )


def checks(program: Program, model: IntegerModel, tensors: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return what every range-checked cell holds, in order."""
    if not program.sources:
        return np.zeros(0, dtype=np.int64)
    arrays = [_source(source, model, tensors) for source in program.sources]
    starts = np.cumsum([0, *(array.size for array in arrays[:-1])])
    return np.asarray(np.concatenate(arrays)[starts[program.check_sources] + program.check_elements])


def _source(source: Source, model: IntegerModel, tensors: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return a source's elements."""
    node = model.nodes[source.node]
    result = tensors[source.node][0]
    if source.name.endswith(COMPLEMENT):
        *parameters, most = source.parameters
        base = type(source)(source.node, source.name.removesuffix(COMPLEMENT), tuple(parameters))
        return np.asarray(most - _source(base, model, tensors))
    if source.name == "above":
        return np.asarray(result.reshape(-1) - source.parameters[0])
    operation = node.operation
    operands = []
    for place in node.inputs:
        array = tensors[place][0]
        if isinstance(operation, (Max, ArgMax)):
            operands.append(array.reshape(-1)[reduced(operation, array.shape)])
        else:
            operands.append(np.broadcast_to(array, result.shape).reshape(-1))
    kernel = KERNELS[type(operation)]
    if not isinstance(kernel, Choosing):
        raise TypeError(f"{operation.name} leaves nothing to choose")
    values = kernel.witness(source.name, source.parameters, operation, operands, result.reshape(-1))
    return values.reshape(-1)


def reduced(operation: Reduction, shape: tuple[int, ...]) -> np.ndarray:
    """Return the operand's elements of each result of a reduction, [results, elements], row-major."""
    place = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    kept = [axis for axis in range(len(shape)) if axis not in operation.axes]
    count = int(np.prod([shape[axis] for axis in operation.axes]))
    return place.transpose(*kept, *operation.axes).reshape(-1, count)
