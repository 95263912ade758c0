"""Quantised operators that choose among numbers, as TensorFlow Lite's reference kernels define them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import Tensor as Integers
from balance_core.converters.exact import check_size
from balance_core.converters.tflite.integer_rule import ENDS, Rule, rule, same_scale
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations import ArgMax, MatMul

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.converters.tflite.reader import Tensor


@rule("REDUCE_MAX", "REDUCE_MIN")
def extreme(r: Rule) -> list[Integers]:
    """The largest or least along axes."""
    x = r.operand(0)
    same_scale(r)
    sign = 1 if r.operator.kind == "REDUCE_MAX" else -1
    result = r.graph.times(r.graph.max(r.graph.times(x, sign), r.axes(1, len(x.shape))), sign)
    return [r.graph.reshape(result, r.shape)]


@rule("MAXIMUM", "MINIMUM")
def maximum(r: Rule) -> list[Integers]:
    """The larger or smaller of two tensors of one scale."""
    _one_scale(r, (r.tensor(0), r.tensor(1), r.file.tensors[r.operator.outputs[0]]))
    operation = r.graph.maximum if r.operator.kind == "MAXIMUM" else r.graph.minimum
    return [operation(r.operand(0), r.operand(1))]


def _one_scale(r: Rule, tensors: Sequence[Tensor]) -> None:
    del r
    if len({(t.dtype, *t.scales.tolist(), *t.zero_points.tolist()) for t in tensors}) > 1:
        raise Inadmissible("its operands have different scales")


@rule("LESS", "GREATER", "LESS_EQUAL", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")
def comparison(r: Rule) -> list[Integers]:
    """1 where the relation holds; the operands are of one scale."""
    _one_scale(r, (r.tensor(0), r.tensor(1)))
    x, y = r.operand(0), r.operand(1)
    below, above = r.graph.less(x, y), r.graph.less(y, x)
    one = r.graph.constant(1, len(below.shape))
    either = r.graph.clamp(r.graph.add(below, above), 0, 1)
    results = {
        "LESS": lambda: below,
        "GREATER": lambda: above,
        "LESS_EQUAL": lambda: r.graph.sub(one, above),
        "GREATER_EQUAL": lambda: r.graph.sub(one, below),
        "EQUAL": lambda: r.graph.sub(one, either),
        "NOT_EQUAL": lambda: either,
    }
    return [results[r.operator.kind]()]


@rule("SELECT", "SELECT_V2")
def select(r: Rule) -> list[Integers]:
    """The second operand where the first holds, else the third."""
    _one_scale(r, (r.tensor(1), r.tensor(2), r.file.tensors[r.operator.outputs[0]]))
    if r.operator.kind == "SELECT" and r.tensor(0).shape != r.tensor(1).shape:
        raise Inadmissible("its condition has another shape than what it selects from")
    return [r.graph.select(*r.graph.aligned(r.operand(0), r.operand(1), r.operand(2)))]


@rule("ARG_MAX", "ARG_MIN")
def arg_max(r: Rule) -> list[Integers]:
    """The first place of the largest (least) element along an axis."""
    x = r.operand(0)
    axes = r.axes(1, len(x.shape))
    if len(axes) != 1:
        raise Inadmissible("it takes one axis")
    x = x if r.operator.kind == "ARG_MAX" else r.graph.times(x, -1)
    return [r.graph.reshape(r.graph.emit(ArgMax(tuple(axes)), x), r.shape)]


@rule("GATHER", "EMBEDDING_LOOKUP")
def gather(r: Rule) -> list[Integers]:
    """Rows of a constant table at places that depend on the input, by a product with their one-hot form.

    A place outside the table, for which the format says nothing, saturates.
    """
    table, places = (0, 1) if r.operator.kind == "GATHER" else (1, 0)
    if r.operator.options.get("Axis", 0) not in {0, -len(r.tensor(table).shape)} or r.operator.options.get(
        "BatchDims"
    ):
        raise Inadmissible("places that depend on the input are taken along the first axis")
    rows = r.constant(table)
    if r.tensor(table).dtype not in ENDS or rows.ndim < 1:
        raise Inadmissible("its table is no tensor of quantised bytes")
    chosen = r.graph.clamp(r.operand(places), 0, len(rows) - 1)
    count = chosen.fact.size
    check_size((count, len(rows)))
    column = r.graph.broadcast(r.graph.reshape(chosen, (count, 1)), (count, len(rows)))
    numbers = r.graph.constant(np.arange(len(rows))[None])
    differs = r.graph.add(r.graph.less(column, numbers), r.graph.less(numbers, column))
    hot = r.graph.sub(r.graph.constant(1, 2), r.graph.clamp(differs, 0, 1))
    ends = ENDS[r.tensor(table).dtype]
    flat = r.graph.weight(rows.astype(np.int64).reshape(len(rows), -1), *ends)
    return [r.graph.reshape(r.graph.clamp(r.graph.emit(MatMul(), hot, flat), *ends), r.shape)]
