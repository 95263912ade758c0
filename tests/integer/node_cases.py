"""onnx's own node tests, run against the integer executor."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx

from balance_core.errors import UnsupportedModel
from balance_core.integer.calibration import replay
from balance_core.integer.encoding import dumps
from balance_core.integer.executor import execute
from balance_core.integer.lowering.driver import Lowering
from balance_core.integer.lowering.rules import load
from balance_core.integer.recipe import Recipe

BITS = 12
CONTROL = {
    "ArrayFeatureExtractor": {1},
    "BatchNormalization": {1, 2, 3, 4}, "CastLike": {1}, "Clip": {1, 2},
    "ConstantOfShape": {0}, "DequantizeLinear": {1, 2}, "Dropout": {1, 2}, "Expand": {1}, "GRU": {1, 2, 3, 4},
    "GatherND": {1}, "LSTM": {1, 2, 3, 4, 7},
    "OneHot": {1, 2}, "Pad": {1, 2, 3}, "Pow": {1},
    "QuantizeLinear": {1, 2}, "RNN": {1, 2, 3, 4}, "Range": {0, 1, 2}, "Reshape": {1}, "Resize": {1, 2, 3},
    "Slice": {1, 2, 3, 4},
    "Split": {1}, "Squeeze": {1}, "Tile": {1}, "Trilu": {1}, "Unsqueeze": {1}, "Upsample": {1},
    **{
        f"Reduce{kind}": {1}
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
}  # fmt: skip
"""Operands that decide shapes, axes or indices, or are parameters: they are made constants, as in real models."""
LISTED = frozenset(
    [
        "Conv",
        "Gemm",
        "MatMul",
        "Einsum",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Neg",
        "Abs",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Sqrt",
        "Reciprocal",
        "Exp",
        "Log",
        "Erf",
        "Tanh",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Softsign",
        "Elu",
        "Selu",
        "Celu",
        "Gelu",
        "Mish",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "ThresholdedRelu",
        "Clip",
        "Min",
        "Max",
        "Mean",
        "Sum",
        "Softmax",
        "LogSoftmax",
        "LayerNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "BatchNormalization",
        "RMSNormalization",
        "LpNormalization",
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "ArgMax",
        "ArgMin",
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "Pad",
        "Expand",
        "Tile",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
        "Trilu",
        "Equal",
        "Less",
        "Greater",
        "LessOrEqual",
        "GreaterOrEqual",
        "And",
        "Or",
        "Xor",
        "Not",
        "Where",
        "Cast",
        "OneHot",
        "Shape",
        "Size",
        "ConstantOfShape",
        "Range",
        "LSTM",
        "GRU",
        "RNN",
        "QuantizeLinear",
        "DequantizeLinear",
        "TreeEnsemble",
        "Binarizer",
        "LabelEncoder",
    ]
)
"""The operators that issue 4 asks for, as far as onnx has node tests for them."""


@dataclass(frozen=True)
class Verdict:
    """What became of one case: passed, refused or wrong, and why."""

    name: str
    operator: str
    result: str
    detail: str = ""


@cache
def cases():
    """Return all single-node cases."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(case for case in collect_testcases(None) if len(case.model.graph.node) == 1)


def attempt(case) -> Verdict:
    """Lower and run one case on its own input."""
    operator = case.model.graph.node[0].op_type
    for inputs, outputs in case.data_sets:
        result, detail = _attempt(operator, case.model, inputs, outputs)
        if result != "passed":
            return Verdict(case.name, operator, result, detail)
    return Verdict(case.name, operator, "passed")


def _number(value):
    """Return a test value as an array of ordinary numbers, or None."""
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    array = np.asarray(value)
    if array.dtype.name in {"int2", "int4", "uint2", "uint4"}:
        return array.astype(np.int64)
    return array if array.dtype.kind in "fiub" and array.dtype.name != "bfloat16" else None


def _attempt(operator, model, inputs, outputs) -> tuple[str, str]:  # noqa: PLR0911 - each refusal has its reason
    given, wanted = [_number(v) for v in inputs], [_number(v) for v in outputs]
    if any(v is None for v in (*given, *wanted)):
        return "refused", "a type that is no number here"
    if not all(np.isfinite(v.astype(np.float64)).all() for v in (*given, *wanted)):
        return "refused", "values that are not finite"
    proto, batch = _prepared(operator, model, inputs, given)
    precision = getattr(load().get((proto.graph.node[0].domain, operator)), "precision", 0)
    lowering = Lowering(proto, batch, BITS, BITS)
    try:
        lowered = lowering.run()
    except UnsupportedModel as error:
        if "does not depend on the input" not in str(error):
            return "refused", str(error)
        same = all(
            np.array_equal(lowering.values[o.name], v) for o, v in zip(proto.graph.output, wanted, strict=True)
        )
        return ("passed", "") if same else ("wrong", "folded to another constant")
    if not _is_replayed(proto, lowered):
        return "wrong", "its recipe makes another model"
    reals = execute(lowered.model, batch).reals
    operands = [float(np.abs(v).max()) for v in batch.values() if v.dtype.kind == "f"]
    for info, expected in zip(proto.graph.output, wanted, strict=True):
        found = reals[info.name][0]
        if found.shape != expected.shape:
            return "wrong", f"shape {found.shape} for {expected.shape}"
        error = float(np.abs(found - expected.astype(np.float64)).max(initial=0))
        largest = max([*operands, float(np.abs(expected.astype(np.float64)).max(initial=0))])
        limit = precision * 2.0**-BITS * largest
        if expected.dtype.kind in "iub":
            limit = 1.0 if operator == "QuantizeLinear" else 0.0  # halves go up, not to the even neighbour
        if error > limit:
            return "wrong", f"{info.name} errs by {error:.3g}, more than {limit:.3g} ({largest:.3g})"
    return "passed", ""


def _is_replayed(proto, lowered):
    """Whether the recipe, as text, makes the same bytes again, without samples."""
    recipe = Recipe.from_text(lowered.recipe.text())
    return recipe == lowered.recipe and dumps(replay(proto, recipe)) == dumps(lowered.model)


def _prepared(operator, model, inputs, given):
    """Make control operands constants; return the model and a batch of one for the others."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    batch = {}
    names = list(proto.graph.node[0].input)
    for info, raw, value in zip(model.graph.input, inputs, given, strict=True):
        if info.name in names and names.index(info.name) in CONTROL.get(operator, ()):
            tensor = raw if isinstance(raw, onnx.TensorProto) else onnx.numpy_helper.from_array(np.asarray(raw))
            stored = proto.graph.initializer.add()
            stored.CopyFrom(tensor)
            stored.name = info.name
            proto.graph.input.remove(next(i for i in proto.graph.input if i.name == info.name))
        else:
            batch[info.name] = value[None]
    return proto, batch
