"""A .tflite file as plain records: every offset, length and index is checked before anything relies on it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.converters.exact import MAX_TENSOR
from balance_core.converters.sources import read_bytes
from balance_core.converters.tflite.options import OPTIONS
from balance_core.converters.tflite.states import as_function
from balance_core.errors import BalanceError, ConfigError, NodeIssue, ToolNotFound, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_FILE = 2**28
"""Largest file that is read, in bytes."""
MAX_COUNT = 2**16
"""Largest number of tensors, of operators, and of buffers."""
MAX_OPERANDS = 2**10
MAX_RANK = 8
IDENTIFIER = b"TFL3"
HINT = "give a .tflite file as the TensorFlow Lite converter writes it"
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    13: "resource",
}
"""Element types that are read, by their codes in the schema; a resource is a variable's handle and holds no data."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor: its declared shape and type, how integers stand for reals, and its data if it is constant."""

    place: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: np.ndarray
    """float64; one for the tensor, or one for each index of `axis`; none for a tensor that is not quantised."""
    zero_points: np.ndarray
    axis: int
    data: np.ndarray | None

    @property
    def is_quantised(self) -> bool:
        """Whether integers of this tensor stand for reals."""
        return self.scales.size > 0 and self.dtype in {"int8", "uint8", "int16", "int32"}

    @property
    def scale(self) -> float:
        """The scale of a tensor that has one."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor that has one."""
        return int(self.zero_points[0])

    def reals(self) -> np.ndarray:
        """Return constant data as float32, dequantised where it is quantised."""
        if self.data is None:
            raise ValueError(self.name)
        if not self.is_quantised:
            return self.data.astype(np.float32)
        shape = [1] * len(self.shape)
        if self.scales.size > 1:
            shape[self.axis] = -1
        offset = self.data.astype(np.float64) - self.zero_points.reshape(shape)
        result: np.ndarray = (offset * self.scales.reshape(shape)).astype(np.float32)
        return result


@dataclass(frozen=True)
class Operator:
    """One operator: its kind by the schema's name, and the tensors that it reads (-1: left out) and makes."""

    place: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How messages and graphs call the operator."""
        return f"{self.kind}_{self.place}"

    def issue(self, reason: str, mend: str | None = None) -> NodeIssue:
        """Return the finding that refuses this operator."""
        return NodeIssue(self.name, self.kind, reason, mend)


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a file, whose operators stand in an order in which they can be run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def label(self, place: int) -> str:
        """Return the name of an input or output: that of its tensor, made distinct where need be."""
        name = self.tensors[place].name or f"tensor {place}"
        same = [i for i in (*self.inputs, *self.outputs) if self.tensors[i].name == self.tensors[place].name]
        return name if len(set(same)) == 1 else f"{name}#{place}"


def read(source: Path) -> Graph:
    """Read a file; raises ConfigError for anything but a TFLite model, UnsupportedModel for what cannot be taken."""
    try:
        import tflite
    except ImportError as error:
        raise ToolNotFound(
            "reading .tflite files needs the tflite package", hint="pip install 'balance-core[tflite]'"
        ) from error
    data = read_bytes(source, MAX_FILE, HINT)
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise ConfigError(f"{source.name} is no TensorFlow Lite model", hint=HINT)
    try:
        with np.errstate(all="ignore"):  # what is no number is refused by name
            return _Reading(tflite, tflite.Model.GetRootAs(data, 0), source.name).graph()
    except BalanceError:
        raise
    except (struct.error, ValueError, TypeError, IndexError, OverflowError, MemoryError, AttributeError) as error:
        raise ConfigError(f"{source.name} is damaged: its tables point outside the file", hint=HINT) from error


def printable(text: bytes) -> str:
    """Return a name out of a file as one line: at most 200 characters, those that cannot be shown replaced."""
    return "".join(c if c.isprintable() else "?" for c in text[:800].decode("utf-8", "replace"))[:200]


class _Reading:
    """One file while it is read."""

    def __init__(self, tflite: Any, model: Any, name: str) -> None:
        self.tflite = tflite
        self.model = model
        self.name = name
        codes = tflite.BuiltinOperator
        self.kinds = {value: key for key, value in vars(codes).items() if isinstance(value, int)}

    def fail(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.name} is damaged: {reason}", hint=HINT)

    def graph(self) -> Graph:
        if not self.model.SubgraphsLength():
            raise self.fail("it holds no graph")
        subgraph = self.model.Subgraphs(0)
        counts = subgraph.TensorsLength(), subgraph.OperatorsLength(), self.model.BuffersLength()
        if not 1 <= counts[0] <= MAX_COUNT or max(counts) > MAX_COUNT:
            raise self.fail(f"it announces {counts[0]} tensors and {counts[1]} operators")
        tensors = tuple(self._tensor(place, subgraph.Tensors(place)) for place in range(counts[0]))
        operators = tuple(self._operator(place, subgraph.Operators(place)) for place in range(counts[1]))
        inputs = self._indices(subgraph.InputsAsNumpy(), len(tensors), "input")
        outputs = self._indices(subgraph.OutputsAsNumpy(), len(tensors), "output")
        if not outputs or not inputs or min(*inputs, *outputs) < 0 or len(set(inputs)) != len(inputs):
            raise self.fail("its inputs and outputs are no distinct tensors")
        graph = Graph(tensors, operators, inputs, tuple(dict.fromkeys(outputs)))
        self._check_order(graph)
        return as_function(graph)

    def _check_order(self, graph: Graph) -> None:
        """Make sure that each tensor is made once, and before it is read."""
        known = {*graph.inputs, *(tensor.place for tensor in graph.tensors if tensor.data is not None), -1}
        if any(graph.tensors[i].data is not None for i in graph.inputs):
            raise self.fail("an input has data")
        for operator in graph.operators:
            for i in operator.inputs:
                if i not in known:
                    raise self.fail(f"{operator.name} reads tensor {i}, which nothing makes before it")
            for i in operator.outputs:
                if i in known:
                    raise self.fail(f"{operator.name} makes tensor {i}, which is there already")
                known.add(i)
        if not known.issuperset(graph.outputs):
            raise self.fail("an output is made by no operator")

    def _indices(self, array: Any, count: int, what: str) -> tuple[int, ...]:
        """Return tensor indices; the bindings give 0 for a vector that is missing."""
        values = () if isinstance(array, int) else tuple(int(i) for i in array)
        if len(values) > MAX_OPERANDS or any(not -1 <= i < count for i in values):
            raise self.fail(f"an {what} is no tensor of the graph")
        return values

    def _tensor(self, place: int, table: Any) -> Tensor:
        name = printable(table.Name() or b"")
        code = table.Type()
        what = f"tensor {place} ({name[:60]})"
        if code not in TYPES:
            raise UnsupportedModel(f"{what} is of an element type that is not taken (code {code})")
        if table.Sparsity() is not None:
            raise UnsupportedModel(f"{what} is sparse", hint="convert the model with dense weights")
        if table.IsVariable():
            raise UnsupportedModel(
                f"{what} keeps a state between calls", hint="export the model with its state as inputs and outputs"
            )
        array = table.ShapeAsNumpy()
        shape = () if isinstance(array, int) else tuple(int(n) for n in array[: MAX_RANK + 1])
        if len(shape) > MAX_RANK or any(n < 1 for n in shape) or prod(shape) > MAX_TENSOR:
            raise UnsupportedModel(f"{what} has the shape {shape}, which cannot be taken")
        scales, zero_points, axis = self._quantisation(table.Quantization(), shape, what)
        data = self._data(table.Buffer(), TYPES[code], shape, what)
        return Tensor(place, name, shape, TYPES[code], scales, zero_points, axis, data)

    def _quantisation(self, table: Any, shape: tuple[int, ...], what: str) -> tuple[np.ndarray, np.ndarray, int]:
        none = np.zeros(0), np.zeros(0, dtype=np.int64), 0
        if table is None or not table.ScaleLength():
            return none
        if table.DetailsType():
            raise UnsupportedModel(f"{what} is quantised in a way of its own")
        scales = np.array(table.ScaleAsNumpy(), dtype=np.float64)
        given = table.ZeroPointAsNumpy()
        points = np.zeros(scales.size, dtype=np.int64) if isinstance(given, int) else np.array(given, dtype=np.int64)
        if points.size == 1:
            points = np.repeat(points, scales.size)
        axis = table.QuantizedDimension()
        fits = scales.size == 1 or (0 <= axis < len(shape) and shape[axis] == scales.size)
        if not fits or points.size != scales.size:
            raise self.fail(f"the scales of {what} do not fit its shape")
        if not np.isfinite(scales).all() or (scales < 2.0**-64).any() or (scales > 2.0**64).any():
            raise self.fail(f"a scale of {what} is no positive number")
        if (np.abs(points) > 2**31).any():
            raise self.fail(f"a zero point of {what} is out of range")
        return scales, points, axis

    def _data(self, place: int, dtype: str, shape: tuple[int, ...], what: str) -> np.ndarray | None:
        if not 0 <= place < self.model.BuffersLength():
            raise self.fail(f"{what} has no buffer")
        buffer = self.model.Buffers(place)
        if buffer.Offset() > 1:
            raise UnsupportedModel(
                f"the data of {what} stands behind the model", hint="models beyond 2 GiB are not taken"
            )
        raw = buffer.DataAsNumpy()
        if isinstance(raw, int) or raw.size == 0 or dtype == "resource":
            return None
        if raw.size != prod(shape) * np.dtype(dtype).itemsize:
            raise self.fail(f"{what} has {raw.size} bytes for the shape {shape} of {dtype}")
        array = np.frombuffer(raw.tobytes(), dtype=np.dtype(dtype).newbyteorder("<") if dtype != "bool" else np.uint8)
        if dtype == "bool":
            array = array != 0
        array = array.astype(dtype).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UnsupportedModel(f"{what} holds infinities or NaN")
        return array

    def _operator(self, place: int, table: Any) -> Operator:
        index = table.OpcodeIndex()
        if not 0 <= index < min(self.model.OperatorCodesLength(), MAX_COUNT):
            raise self.fail(f"operator {place} is of no kind")
        entry = self.model.OperatorCodes(index)
        # Codes up to 127 stand in the older field too; the larger of the two holds.
        code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
        kind = self.kinds.get(code)
        if kind is None:
            raise UnsupportedModel(f"operator {place} has the code {code}, which the tflite package does not know")
        if kind == "CUSTOM":
            name = printable(entry.CustomCode() or b"")[:60]
            issue = NodeIssue(f"CUSTOM_{place}", name, "its meaning is not in the file")
            raise UnsupportedModel("the model holds an operator of its own", issues=[issue])
        count = self.model.Subgraphs(0).TensorsLength()
        inputs = self._indices(table.InputsAsNumpy(), count, "operand")
        outputs = self._indices(table.OutputsAsNumpy(), count, "result")
        silent = kind in {"ASSIGN_VARIABLE", "CALL_ONCE"}
        if (not outputs and not silent) or -1 in outputs or len(set(outputs)) != len(outputs):
            raise self.fail(f"operator {place} makes no tensor")
        return Operator(place, kind, inputs, outputs, self._options(kind, place, table))

    def _options(self, kind: str, place: int, table: Any) -> dict[str, Any]:
        """Return the scalar options of an operator; those that a file leaves out have the schema's defaults."""
        if kind not in OPTIONS:
            return {}
        name, defaults = OPTIONS[kind]
        found = table.BuiltinOptionsType()
        options = table.BuiltinOptions()
        if found == 0 or options is None:
            return dict(defaults)
        if found != getattr(self.tflite.BuiltinOptions, name):
            raise self.fail(f"{kind}_{place} has the options of another operator")
        record = getattr(self.tflite, name)()
        record.Init(options.Bytes, options.Pos)
        return {option: getattr(record, option)() for option in defaults}
