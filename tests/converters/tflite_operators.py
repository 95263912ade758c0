"""How tests of single operators run the interpreter and the converter, and write quantised operands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from balance_core.converters.tflite import TFLiteConverter

if TYPE_CHECKING:
    from pathlib import Path

    from tflite_models import Writer

RANDOM = np.random.default_rng(5)
CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
VALID = 1


def interpreted(data: bytes, inputs: list[np.ndarray], *, reference: bool = True) -> list[np.ndarray]:
    optimised = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kernels = OpResolverType.BUILTIN_REF if reference else optimised
    try:
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
    except ValueError:  # an operator without a reference kernel
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=optimised)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]).copy() for detail in interpreter.get_output_details()]


def converted(data: bytes, folder: Path):
    source = folder / "model.tflite"
    source.write_bytes(data)
    return TFLiteConverter().convert(source)


def quantised(w: Writer, shape, scale=0.05, zero_point=3, *, data=None) -> int:
    return w.tensor(shape, "int8", data=data, scale=scale, zero_point=zero_point)


def byte_weights(w: Writer, shape, axis=0, *, per_channel=True) -> int:
    count = shape[axis]
    scale = RANDOM.uniform(0.001, 0.02, count) if per_channel else 0.01
    return w.tensor(
        shape,
        "int8",
        data=RANDOM.integers(-127, 128, shape),
        scale=scale,
        zero_point=np.zeros(count if per_channel else 1, dtype=np.int64),
        axis=axis,
    )


def bias(w: Writer, source: int, weights: int) -> int:
    scales = w.tensors[source]["scale"] * w.tensors[weights]["scale"]
    count = w.tensors[weights]["shape"][w.tensors[weights]["axis"]]
    points = np.zeros(len(scales), dtype=np.int64)
    return w.tensor((count,), "int32", data=RANDOM.integers(-2000, 2000, count), scale=scales, zero_point=points)
