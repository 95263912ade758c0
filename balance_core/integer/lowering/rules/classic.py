"""Linear models, scalers and encoders of ai.onnx.ml."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.functions import GUARD, softmax, square_root
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import Curve
from balance_core.integer.lowering.rules import ML, rule
from balance_core.integer.lowering.rules.arithmetic import quotient
from balance_core.integer.lowering.rules.reduction import magnitude
from balance_core.integer.lowering.scaling import is_power_of_two, power_of_two_at_least

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from balance_core.integer.lowering.node import Node, Value

LEAF_BITS = 16
"""Bits of coefficients and leaves: these models are small, and their answers should be the library's."""
MAX_COLUMN_BITS = 32
"""Most bits of a table's row that a model takes in as it is."""
SCALER_BITS = 24
"""Bits of a scaler's factors, whose sizes may differ by orders of magnitude."""


def column_scale(proto: onnx.ModelProto, name: str, samples: np.ndarray, bits: int) -> Fraction | None:
    """Return the scale that gives every column of a table its bits, if a scaler or linear model reads it."""
    readers = {node.op_type for node in proto.graph.node if name in node.input}
    if not readers & {"Scaler", "LinearClassifier", "LinearRegressor"}:
        return None
    columns = samples.reshape(-1, samples.shape[-1])
    spans = np.ptp(columns, axis=0)
    if not spans.any():
        return None
    largest = Fraction(float(np.abs(columns).max()))
    wanted = power_of_two_at_least(Fraction(float(spans[spans > 0].min())) / 2**bits)
    return max(wanted, power_of_two_at_least(largest / 2 ** (MAX_COLUMN_BITS - 2)))


def transform(node: Node, x: Real, post: str) -> Real:
    """Apply a post_transform to scores of shape [N, results]."""
    r = node.reals
    match post:
        case "NONE" | "":
            return x
        case "LOGISTIC":
            return node.tensor(Curve(x, tables.sigmoid))
        case "SOFTMAX":
            return softmax(r, r.narrow(x, min(16, r.bits + GUARD)), [1])
    raise Inadmissible(f"post_transform {post} is not supported")


def classify(node: Node, x: Real, labels: Sequence[int] | None, *, probabilities: bool) -> list[Value | None]:
    """Return label and scores; one score for two classes means the second, `probabilities` that it is in [0, 1]."""
    r = node.reals
    post = node.text("post_transform", "NONE")
    rows = x.shape[0]
    if x.shape[1] == 1:
        half = r.constant_at(np.full((1, 1), 0.5 if probabilities else 0.0), x.scale)
        best = r.less(half, x)
        if probabilities:
            other = r.add_constant(r.negate(x), np.ones((1, 1)))
            found = r.concat([other, x], 1)
        else:
            found = transform(node, r.concat([r.negate(x), x], 1), "NONE" if post == "SOFTMAX" else post)
            if post == "SOFTMAX":
                raise Inadmissible("SOFTMAX of a single score is not supported")
    else:
        best = r.argmax(x, 1)
        found = transform(node, x, post)
    best = r.reshape(best, (rows,))
    if labels is None:
        label: Real | None = None if node.proto.output[0] else best
    else:
        table = np.array(labels, dtype=np.int64)
        plain = (table == np.arange(len(table))).all()
        label = best if plain else r.table(best, 0, table, Fraction(1), exact=True)
    if label is None:
        raise Inadmissible("the labels are texts, which no integer stands for; number the classes instead")
    return [label, found]


@rule("LinearClassifier", domain=ML)
def linear_classifier(node: Node) -> list[Value | None]:
    """Scores, and the class with the highest."""
    node.ignore("multi_class")
    coefficients = node.numbers("coefficients")
    intercepts = node.numbers("intercepts")
    labels = node.integers("classlabels_ints")
    if coefficients is None:
        raise Inadmissible("attribute coefficients is missing")
    return classify(node, _linear(node, coefficients, intercepts), labels, probabilities=False)


@rule("LinearRegressor", domain=ML, precision=8)
def linear_regressor(node: Node) -> Value:
    """A weighted sum for each target."""
    node.ignore("targets")
    coefficients = node.numbers("coefficients")
    if coefficients is None:
        raise Inadmissible("attribute coefficients is missing")
    found = _linear(node, coefficients, node.numbers("intercepts"))
    return transform(node, found, node.text("post_transform", "NONE"))


def _linear(node: Node, coefficients: np.ndarray, intercepts: np.ndarray | None) -> Real:
    """Weigh and add; the operand is wider than the budget, for its columns may differ in size by far."""
    r = node.reals
    x = r.narrow(node.real(0), MAX_COLUMN_BITS)
    x = r.reshape(x, (1, *x.shape)) if len(x.shape) == 1 else x
    weights = coefficients.reshape(-1, x.shape[1]).T
    result = r.matmul_exact(x, r.weight(weights, LEAF_BITS))
    return result if intercepts is None else r.add_constant(result, intercepts.reshape(1, -1))


@rule("Scaler", domain=ML, precision=8)
def scaler(node: Node) -> Value:
    """(x - offset) * scale for each feature."""
    r = node.reals
    x = node.real(0)
    offset, scale = node.numbers("offset"), node.numbers("scale")
    if offset is not None:
        x = r.add_constant(x, -offset.reshape((1,) * (len(x.shape) - 1) + (-1,)))
    if scale is None:
        return x
    factor = r.weight(scale.reshape((1,) * (len(x.shape) - 1) + (-1,)), SCALER_BITS)
    return r.mul_exact(Real(x.tensor, x.scale, x.fact), factor)


@rule("Normalizer", domain=ML, precision=16)
def normalizer(node: Node) -> Value:
    """Divide by a norm of the row."""
    r = node.reals
    x = r.narrow(node.real(0))
    last = [len(x.shape) - 1]
    match node.text("norm", "MAX"):
        case "MAX":
            norm = r.max(x, last)
        case "L1":
            norm = r.sum(magnitude(node, x), last)
        case "L2":
            norm = square_root(r, r.sum(r.mul_exact(x, x), last))
        case other:
            raise Inadmissible(f"norm {other} is not known")
    return quotient(node, x, norm)


@rule("Binarizer", domain=ML)
def binarizer(node: Node) -> Value:
    """1 where x exceeds the threshold."""
    r = node.reals
    x = node.real(0)
    bound = r.constant_at(np.full((1,) * len(x.shape), node.number("threshold", 0.0)), x.scale)
    found = r.less(bound, x)
    return Real(found.tensor, found.scale, found.fact, x.exact)


@rule("LabelEncoder", domain=ML)
def label_encoder(node: Node) -> Value:
    """A value for each key, and a default: one comparison for each key."""
    r = node.reals
    node.ignore("default_string")
    keys, values = _column(node, "keys"), _column(node, "values")
    if keys is None or values is None or keys.shape != values.shape:
        raise Inadmissible("texts as keys or values are not supported")
    given = node.attribute("default_tensor")
    if given is not None:
        default = numpy_helper.to_array(given).reshape(-1)[0]
    elif np.issubdtype(values.dtype, np.integer):
        default = node.integer("default_int64", -1)
    else:
        default = node.number("default_float", -0.0)
    x = node.real(0)
    if not (np.isfinite(keys.astype(np.float64)).all() and np.isfinite(values.astype(np.float64)).all()):
        raise Inadmissible("keys or values are not finite")
    column = r.reshape(x, (*x.shape, 1))
    places = to_places(keys, x)
    hit = r.equal(column, r.graph.weight(places.reshape((1,) * len(x.shape) + (-1,)), x.scale))
    difference = (values.astype(np.float64) - float(default)).reshape(-1, 1)
    found = r.matmul_exact(r.reshape(hit, (x.fact.size, keys.size)), r.weight(difference, LEAF_BITS))
    if np.issubdtype(values.dtype, np.integer) and found.scale != 1:
        raise Inadmissible("the values are too large")
    shifted = r.add_constant(r.reshape(found, x.shape), np.full((1,) * len(x.shape), float(default)))
    return Real(shifted.tensor, shifted.scale, shifted.fact, bool(np.issubdtype(values.dtype, np.integer)))


def to_places(keys: np.ndarray, x: Real) -> np.ndarray:
    """Return keys as integers of x; the scale of x must be able to hold them."""
    places = [Fraction(float(key)) / x.scale for key in keys]
    if any(place.denominator != 1 for place in places) and (x.exact or not is_power_of_two(x.scale)):
        raise Inadmissible("a key is no possible value of the operand")
    return np.array([(2 * p.numerator + p.denominator) // (2 * p.denominator) for p in places], dtype=np.int64)


def _column(node: Node, name: str) -> np.ndarray | None:
    """Return the keys or values of a LabelEncoder, from whichever attribute holds them."""
    tensor = node.attribute(f"{name}_tensor")
    if tensor is not None:
        array = numpy_helper.to_array(tensor).reshape(-1)
        return array if array.dtype.kind in "iuf" else None
    integers, floats = node.integers(f"{name}_int64s"), node.numbers(f"{name}_floats")
    if integers is not None:
        return np.array(integers, dtype=np.int64)
    return floats
