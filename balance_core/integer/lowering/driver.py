"""Lowering at a fixed bit budget: the nodes of a graph in order, each by its rule."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.folding import FOLDED, fold
from balance_core.integer.lowering.graph import Graph, Real, TooManySamples
from balance_core.integer.lowering.inputs import given, integer_range, real_range
from balance_core.integer.lowering.node import FLOATS, INTEGERS, Curve, Node, Value
from balance_core.integer.lowering.real import Reals
from balance_core.integer.lowering.rules import load
from balance_core.integer.lowering.rules.quantised import integer_limits
from balance_core.integer.lowering.scaling import fit, fit_at
from balance_core.integer.operations import Input
from balance_core.integer.operations.lookup import MAX_TABLE
from balance_core.integer.recipe import Choices, Recipe, exponent_of, range_of, scale_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.integer.model import IntegerModel
    from balance_core.integer.recipe import Fixed

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""How operands and attributes of files that no checker has seen break the rules of onnx and numpy."""
INPUT_BITS = 63
"""Most bits of an input."""


@dataclass(frozen=True)
class Place:
    """Which tensor of the integer model stands for an ONNX tensor, and at what scale."""

    tensor: int
    scale: Fraction


@dataclass(frozen=True)
class Lowered:
    """An integer model, and where the ONNX tensors are in it: as computed, and as narrowed for their readers."""

    model: IntegerModel
    recipe: Recipe
    wide: dict[str, Place]
    narrow: dict[str, Place]


class Lowering:
    """The state of one lowering, by samples or by a recipe: the values of the ONNX tensors seen so far."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        samples: Mapping[str, np.ndarray] | Recipe,
        bits: int,
        weight_bits: int,
        fixed: Fixed | None = None,
    ) -> None:
        self.proto = proto
        self.choices = Choices(samples if isinstance(samples, Recipe) else None)
        self.graph = Graph(self.choices)
        self.fixed = fixed
        self.reals = Reals(self.graph, bits, weight_bits, fixed)
        self.bits = bits
        self.values: dict[str, Value] = {}
        self.opsets = {normal_domain(entry.domain): entry.version for entry in proto.opset_import}
        self.types = element_types(proto)
        self.readers: dict[str, list[str]] = {}
        """The operators that read each ONNX tensor."""
        for node in proto.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node.op_type)
        self._tables: dict[int, tuple[Curve, Real]] = {}
        self.samples = {} if isinstance(samples, Recipe) else samples

    def run(self) -> Lowered:
        """Lower the whole graph; raises UnsupportedModel with every node that cannot be."""
        graph = self.proto.graph
        self._refuse_unknown()
        self.values.update((tensor.name, weight_of(tensor)) for tensor in graph.initializer)
        for info in graph.input:
            if info.name not in self.values:
                self._input(info)
        for proto in graph.node:
            self._node(proto)
        model, moved = self.graph.finish([(info.name, self._output(info.name)) for info in graph.output])
        wide: dict[str, Place] = {}
        narrow: dict[str, Place] = {}
        for name, value in self.values.items():
            found = self._tables[id(value)][1] if id(value) in self._tables else value
            if not isinstance(found, Real):
                continue
            for places, x in ((wide, found), (narrow, self.reals.narrowed(found))):
                if x is not None and x.tensor in moved:
                    places[name] = Place(moved[x.tensor], x.scale)
        self.choices.finish()
        recipe = Recipe(
            bits=self.bits,
            weight_bits=self.reals.weight_bits,
            fixed=self.fixed,
            structure=model.structure_digest,
            choices=tuple(self.choices.taken),
        )
        return Lowered(model, recipe, wide, narrow)

    def _output(self, name: str) -> Real:
        value = self.values.get(name)
        if value is None:
            raise UnsupportedModel(f"output {name} is not made by any node")
        if isinstance(value, np.ndarray):
            raise UnsupportedModel(
                f"output {name} does not depend on the input", hint="remove it from the model's outputs"
            )
        self.graph.label = name
        try:
            found = self.materialise(value)
            return self.reals.narrow(found) if self.fixed else found
        except TooManySamples:
            raise
        except MALFORMED as error:
            issue = NodeIssue(name, "output", str(error))
            raise UnsupportedModel("the model cannot be made of integers", issues=[issue]) from error

    def _refuse_unknown(self) -> None:
        rules = load()
        constant = {tensor.name for tensor in self.proto.graph.initializer}
        for node in self.proto.graph.node:
            if all(name in constant for name in node.input if name):
                constant.update(node.output)
        issues = [
            NodeIssue(
                node.name or (node.output[0] if node.output else "?"),
                node.op_type,
                "the operator has no lowering to integers"
                if not any(a.g.node for a in node.attribute)
                else "control flow has no lowering to integers",
            )
            for node in self.proto.graph.node
            if (normal_domain(node.domain), node.op_type) not in rules
            and node.op_type not in FOLDED
            and not constant.issuperset(node.output)
        ]
        if issues:
            raise UnsupportedModel("the model cannot be made of integers", issues=issues)
        if self.proto.graph.sparse_initializer:
            raise UnsupportedModel("the model holds sparse weights", hint="store them as dense tensors")

    def _input(self, info: onnx.ValueInfoProto) -> None:
        name = info.name
        if info.type.WhichOneof("value") != "tensor_type":
            raise UnsupportedModel(f"input {name} is no tensor")
        kind = info.type.tensor_type.elem_type
        if kind not in INTEGERS | FLOATS:
            raise UnsupportedModel(f"input {name} is of type {onnx.TensorProto.DataType.Name(kind)}")
        declared = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        samples = None if self.choices.replaying else given(name, self.samples, declared)
        shape = declared if samples is None else samples.shape[1:]
        self.graph.label = name

        def choose() -> tuple[int, ...]:
            if samples is None:
                raise UnsupportedModel(f"input {name} has no calibration samples")
            if kind in INTEGERS:
                return integer_range(self.proto, name, samples, kind, self.readers.get(name, ()))
            return real_range(self.proto, name, samples, self.bits, self.reals.point)

        try:
            chosen = self.graph.take("input", choose)
            scale = scale_of(chosen, name)
            low, high = range_of(chosen, INPUT_BITS, name)
            op = Input(name, tuple(int(n) for n in shape), low, high)
            self.values[name] = self.graph.input(op, samples, scale, exact=kind in INTEGERS)
        except MALFORMED as error:
            raise UnsupportedModel(f"input {name}: {error}") from error

    def _node(self, proto: onnx.NodeProto) -> None:
        operands = [self.values.get(name) if name else None for name in proto.input]
        self.graph.label = proto.name or (proto.output[0] if proto.output else proto.op_type)
        opset = self.opsets.get(normal_domain(proto.domain), self.opsets.get("", 1))
        node = Node(
            proto,
            operands,
            opset=opset,
            reals=self.reals,
            types=self.types,
            materialise=self.materialise,
            feeds_softmax=self._feeds_softmax(proto),
        )
        try:
            results = self._results(node)
        except TooManySamples:
            raise
        except Inadmissible as error:
            issue = NodeIssue(node.title, node.op, str(error))
            raise UnsupportedModel("the model cannot be made of integers", issues=[issue]) from None
        except MALFORMED as error:
            issue = NodeIssue(node.title, node.op, f"operands or attributes do not fit ({error})")
            raise UnsupportedModel("the model cannot be made of integers", issues=[issue]) from error
        for name, value in zip(proto.output, results, strict=False):
            if name and value is not None:
                self.values[name] = value

    def _feeds_softmax(self, proto: onnx.NodeProto) -> bool:
        readers = {reader for name in proto.output for reader in self.readers.get(name, ())}
        return readers == {"Softmax"} and not {info.name for info in self.proto.graph.output} & set(proto.output)

    def _results(self, node: Node) -> list[Value | None]:
        missing = [name for name in node.proto.input if name and name not in self.values]
        if missing:
            raise Inadmissible(f"operand {missing[0]} is not made before it")
        given = [value for value in node.operands if value is not None]
        if node.op in {"Shape", "Size"} or all(isinstance(value, np.ndarray) for value in given):
            return fold(node)
        result = load()[normal_domain(node.proto.domain), node.op].lower(node)
        if node.unread():
            raise Inadmissible(f"attribute {', '.join(node.unread())} is not supported")
        results = [result] if isinstance(result, (Real, Curve, np.ndarray)) else list(result)
        for place, name in enumerate(node.proto.output):
            if name and (place >= len(results) or results[place] is None):
                raise Inadmissible(f"output {name} is not supported")
        return [
            None if value is None else self._typed(node, place, value)
            for place, value in enumerate(results[: len(node.proto.output)])
        ]

    def _typed(self, node: Node, place: int, value: Value) -> Value:
        """Keep ONNX integers within their type: what ONNX would wrap around saturates, like all unforeseen values.

        Raises Inadmissible when a calibration sample wraps around, or when the result is no ONNX integer at all.
        """
        kind = node.type_of_output(place)
        if kind not in INTEGERS or isinstance(value, np.ndarray) or not node.proto.output[place]:
            return value
        value = self.materialise(value)
        if not value.exact or value.scale != 1:
            raise Inadmissible("an ONNX integer would be rounded")
        low, high = integer_limits(kind)
        if not self.choices.replaying:
            seen = self.graph.samples(value)
            if int(seen.min()) < low or int(seen.max()) > high:
                raise Inadmissible(f"a calibration sample wraps around in {onnx.TensorProto.DataType.Name(kind)}")
        return self.reals.clamp(value, low, high)

    def materialise(self, value: Value) -> Real:
        """Return a value as a tensor: a pending function becomes a table, a constant a weight."""
        if isinstance(value, Real):
            return value
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "iub":
                weight = self.graph.weight(value.astype(np.int64), Fraction(1))
                return Real(weight.tensor, weight.scale, weight.fact, exact=True)
            return self.reals.weight(value)
        known = self._tables.get(id(value))
        if known is None:
            known = self._tables[id(value)] = (value, self._table(value))
        return known[1]

    def _table(self, curve: Curve) -> Real:
        """Make the table of a function: entries for every integer of its narrowed source."""
        given = curve.source
        source = self.reals.narrow(Real(given.tensor, given.scale, given.fact), self.bits)
        first, last = source.fact.lo, source.fact.hi
        if last - first >= MAX_TABLE:
            raise Inadmissible(f"a table of {last - first + 1} entries exceeds the {MAX_TABLE} allowed")
        values = tables.entries(curve.function, first, last, source.scale)
        known = [value for value in values if value is not None]
        if not known:
            raise Inadmissible("the function is undefined on the whole calibrated range")
        with localcontext(tables.context()):
            whole = all(value == value.to_integral_value() for value in known)
            if whole and max(known) - min(known) < 2**self.bits:
                entries = tables.rounded(values, Fraction(1), int(min(known)), int(max(known)))
                return self.reals.table(source, first, entries, Fraction(1), exact=True)

        def choose() -> tuple[int, ...]:
            seen = np.unique(self.graph.samples(source)) - first
            reached = [value for value in (values[int(i)] for i in seen) if value is not None] or known
            low, high = Fraction(min(reached)), Fraction(max(reached))
            if point := self.reals.point:
                return -point.behind, *fit_at(low, high, point.scale, point.largest)
            scale, lo, hi = fit(low, high, self.bits)
            return exponent_of(scale), lo, hi

        chosen = self.graph.take("table", choose)
        scale = scale_of(chosen, self.graph.label)
        lo, hi = range_of(chosen, self.reals.point.bits if self.reals.point else self.bits, self.graph.label)
        return self.reals.table(source, first, tables.rounded(values, scale, lo, hi), scale)


def weight_of(tensor: onnx.TensorProto) -> np.ndarray:
    """Return an initializer's values; raises UnsupportedModel for one that is damaged or complex."""
    try:
        array: np.ndarray = numpy_helper.to_array(tensor)
    except MALFORMED as error:
        raise UnsupportedModel(f"weight {tensor.name} cannot be read ({error})") from error
    if array.dtype.kind == "c":
        raise UnsupportedModel(f"weight {tensor.name} is complex")
    return array


def normal_domain(domain: str) -> str:
    """Return "" for ONNX's own domain under either of its names."""
    return "" if domain == "ai.onnx" else domain


def element_types(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor for which ONNX's inference finds one."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # noqa: BLE001 - inference is a help; what it cannot do the rules do
        inferred = proto
    graph = inferred.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for info in [*graph.value_info, *graph.input, *graph.output]:
        types[info.name] = info.type.tensor_type.elem_type
    return types
