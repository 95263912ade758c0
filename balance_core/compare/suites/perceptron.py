"""One family of networks in any size, with random weights from a seed."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def square(width: int, seed: int) -> bytes:
    """Return an ONNX model of two dense layers of width x width with a ReLU between.

    Weights have the spread of He's initialisation (He et al. 2015, equation 10), so that activations keep their size.
    """
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0, (2 / width) ** 0.5, (width, width)).astype(np.float32) for name in ("first", "second")
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name in "xy"]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 15)], producer_name="balance", ir_version=8
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data
