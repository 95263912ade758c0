"""Models that are integers already: they have no ONNX graph, and the integer model itself is their normal form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core import canonical
from balance_core.integer.encoding import dumps, loads
from balance_core.integer.executor import execute_integers, quantise
from balance_core.model import Model
from balance_core.records import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.integer.executor import Execution
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.model import Node as IntegerNode

_RAW = {(-(2**7), 2**7 - 1): "int8", (0, 2**8 - 1): "uint8", (-(2**15), 2**15 - 1): "int16"}
"""The intervals of inputs that take the integers themselves, as the formats that they come from do."""


def describe(integer: IntegerModel, name: str) -> Model:
    """Return an integer model, with its weights, as a Model.

    An input whose interval is the whole of int8, uint8 or int16 takes these integers as they are, one of scale 1
    takes integers too (int64), and any other takes real numbers, which are quantised. Outputs are real numbers.
    """
    inputs = tuple(
        TensorSpec.model_validate(
            {"name": op.label, "dtype": _dtype(integer.nodes[place], (op.lo, op.hi)), "shape": op.to}
        )
        for place, op in integer.inputs
    )
    outputs = tuple(
        TensorSpec(
            name=output.name,
            dtype="int64" if _is_plain(integer.nodes[output.tensor]) else "float64",
            shape=integer.facts[output.tensor].shape,
        )
        for output in integer.outputs
    )
    parts = bytes.fromhex(integer.structure_digest), bytes.fromhex(integer.weights_digest)
    return Model(
        model_id=canonical.digest("model/integer/1", *parts),
        name=name,
        inputs=inputs,
        outputs=outputs,
        operators=tuple(sorted({node.operation.name for node in integer.nodes})),
        onnx=b"",
        integer=dumps(integer),
    )


def _dtype(node: IntegerNode, interval: tuple[int, int]) -> str:
    return "int64" if _is_plain(node) else _RAW.get(interval, "float64")


def _is_plain(node: IntegerNode) -> bool:
    return node.scale == 1 and node.zero_point == 0


def quantised(integer: IntegerModel, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the integers of a batch: arrays of integers are taken as they are, arrays of reals are quantised.

    Integers for an input of scale 1 saturate to its interval, as reals do.
    """
    given = dict(batch)
    for place, op in integer.inputs:
        node, array = integer.nodes[place], batch.get(op.label)
        if array is not None and (array.dtype.kind not in "iu" or _is_plain(node)):
            given[op.label] = quantise(array, node, op)
    return given


def run(integer: IntegerModel, batch: Mapping[str, np.ndarray]) -> Execution:
    """Answer a batch of integers as they are, or of reals."""
    return execute_integers(integer, quantised(integer, batch))


def answers(encoded: bytes, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the real numbers that the outputs of an encoded integer model stand for."""
    integer = loads(encoded)
    result = run(integer, batch)
    plain = {output.name for output in integer.outputs if _is_plain(integer.nodes[output.tensor])}
    return {name: result.outputs[name] if name in plain else reals for name, reals in result.reals.items()}
