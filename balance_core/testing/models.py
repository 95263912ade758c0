"""The kit's own models: a few neurons each, with seeded weights, so that every proof system can afford them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from balance_core.contracts import Samples
from balance_core.model import reference
from balance_core.model.load import describe, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, NodeProto

    from balance_core.model import Model

FOREIGN_OPERATOR = "Mystery"
"""An operator of a domain that nobody has defined."""
_IR_VERSION = 8
_OPSETS = (helper.make_opsetid("", 17),)


@dataclass(frozen=True)
class KitModels:
    """The models that the cases are about; a backend that takes only some kinds of model brings its own."""

    main: Model
    twin: Model
    """The same graph as `main` with other weights."""
    other: Model
    """Another graph, with another shape of input or output."""
    two_inputs: Model
    """A model of two inputs; a backend may refuse it, as long as `check` says so too."""
    unsupported: Model
    """A model that the backend cannot prove."""

    def __iter__(self) -> Iterator[Model]:
        return iter((self.main, self.twin, self.other, self.two_inputs, self.unsupported))


@cache
def kit_models() -> KitModels:
    """Return the kit's own models: multi-layer perceptrons of up to 4-8-3 neurons."""
    foreign = mlp(seed=1)
    foreign.graph.node[2].CopyFrom(
        helper.make_node(FOREIGN_OPERATOR, ["sum_1"], ["hidden_1"], name="mystery", domain="org.example.nobody")
    )
    foreign.opset_import.append(helper.make_opsetid("org.example.nobody", 1))
    return KitModels(
        main=load(mlp(seed=1), name="kit-main"),
        twin=load(mlp(seed=2), name="kit-twin"),
        other=load(mlp(seed=3, sizes=(5, 4, 2)), name="kit-other"),
        two_inputs=load(_two_inputs(seed=4), name="kit-two-inputs"),
        unsupported=describe(foreign, "0" * 63 + "1", name="kit-unsupported"),
    )


def mlp(*, seed: int, sizes: tuple[int, ...] = (4, 8, 3)) -> ModelProto:
    """Return a perceptron with ReLU between its layers; input `x` of (1, sizes[0]), output `y`."""
    random = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    weights = {}
    value = "x"
    for layer, (rows, columns) in enumerate(pairwise(sizes), start=1):
        last = layer == len(sizes) - 1
        weights[f"w_{layer}"] = random.uniform(-1, 1, (rows, columns))
        weights[f"b_{layer}"] = random.uniform(-0.5, 0.5, (columns,))
        total = "y" if last else f"sum_{layer}"
        nodes.append(helper.make_node("MatMul", [value, f"w_{layer}"], [f"product_{layer}"], name=f"matmul_{layer}"))
        nodes.append(helper.make_node("Add", [f"product_{layer}", f"b_{layer}"], [total], name=f"add_{layer}"))
        if not last:
            value = f"hidden_{layer}"
            nodes.append(helper.make_node("Relu", [total], [value], name=f"relu_{layer}"))
    return _model(nodes, weights, {"x": (1, sizes[0])}, (1, sizes[-1]))


def _two_inputs(*, seed: int) -> ModelProto:
    """Return y = relu(a w) + b, whose two inputs cannot be told apart by shape alone."""
    weights = {"w": np.random.default_rng(seed).uniform(-1, 1, (3, 3))}
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["product"], name="matmul"),
        helper.make_node("Relu", ["product"], ["hidden"], name="relu"),
        helper.make_node("Add", ["hidden", "b"], ["y"], name="add"),
    ]
    return _model(nodes, weights, {"a": (1, 3), "b": (1, 3)}, (1, 3))


def _model(
    nodes: list[NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, ...]],
    output: tuple[int, ...],
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "kit",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
    checker.check_model(model)
    return model


def samples(model: Model, *, count: int = 12, seed: int = 7) -> Samples:
    """Return inputs in [-1, 1] with the float model's answers; a model that nobody can run gets answers of zero."""
    random = np.random.default_rng(seed)
    inputs = {spec.name: random.uniform(-1, 1, (count, *spec.shape)).astype(spec.dtype) for spec in model.inputs}
    if any("::" in operator for operator in model.operators):
        return Samples(inputs, {spec.name: np.zeros((count, *spec.shape), spec.dtype) for spec in model.outputs})
    return Samples(inputs, reference.answers(model, inputs))
