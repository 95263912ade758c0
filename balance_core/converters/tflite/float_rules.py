"""Floating-point operators as ONNX nodes of the same meaning."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import check_size, same_padding
from balance_core.converters.tflite.movement import FILL, Moving, indices
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.converters.tflite.floats import FloatGraph
    from balance_core.converters.tflite.reader import Graph, Operator, Tensor

    Conversion = Callable[["FloatRule"], str]

RULES: dict[str, Conversion] = {}
TO_ONNX, TO_FILE = (0, 3, 1, 2), (0, 2, 3, 1)
"""Orders of axes: from channels last to channels first, and back."""
UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish", "LOG": "Log", "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg",
    "RELU": "Relu", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh",
}  # fmt: skip
BINARY = {
    "ADD": "Add", "DIV": "Div", "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual",
    "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max",
    "MINIMUM": "Min", "MUL": "Mul", "POW": "Pow", "SUB": "Sub",
}  # fmt: skip
REDUCTIONS = {
    "MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin", "REDUCE_PROD": "ReduceProd",
    "SUM": "ReduceSum",
}  # fmt: skip
CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
"""The schema's codes of fused activations."""


@dataclass(frozen=True)
class FloatRule:
    """One operator, the graph that it is written to, and what is known of its operands."""

    graph: FloatGraph
    file: Graph
    operator: Operator
    constants: Mapping[int, np.ndarray]
    names: Mapping[int, str]

    def convert(self) -> list[str]:
        """Write the operator and return the names of its results."""
        if self.operator.kind in RULES:
            return [RULES[self.operator.kind](self)]
        return moved(self)

    def tensor(self, place: int) -> Tensor:
        """Return what the file says of an operand."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] < 0:
            raise Inadmissible(f"operand {place} is left out")
        return self.file.tensors[self.operator.inputs[place]]

    def has(self, place: int) -> bool:
        """Whether an operand is given."""
        return place < len(self.operator.inputs) and self.operator.inputs[place] >= 0

    @property
    def target(self) -> Tensor:
        """What the file says of the first result."""
        return self.file.tensors[self.operator.outputs[0]]

    def array(self, place: int) -> np.ndarray:
        """Return a constant operand, as the numbers that it stands for."""
        tensor = self.tensor(place)
        if tensor.place not in self.constants:
            raise Inadmissible(f"operand {place} is not constant")
        if tensor.data is not None and (tensor.is_quantised or tensor.dtype == "float16"):
            return tensor.reals()
        return self.constants[tensor.place]

    def ints(self, place: int) -> list[int]:
        """Return a constant operand of integers, flat."""
        array = self.array(place)
        if array.dtype.kind not in "iu" or array.size > 2**16:
            raise Inadmissible(f"operand {place} is no short list of integers")
        return [int(v) for v in array.reshape(-1)]

    def axes(self, place: int, rank: int) -> list[int]:
        """Return constant axes, counted from the front."""
        numbers = self.ints(place)
        if any(not -rank <= n < rank for n in numbers):
            raise Inadmissible(f"axes {numbers} are none of {rank}")
        return sorted({n % rank for n in numbers})

    def value(self, place: int) -> str:
        """Return the name of an operand, writing it as a constant where it is one."""
        tensor = self.tensor(place)
        if tensor.place in self.names:
            return self.names[tensor.place]
        return self.graph.constant(self.array(place))

    def scalar(self, value: float) -> str:
        """Return the name of a single-precision constant."""
        return self.graph.constant(np.array(value, dtype=np.float32))

    def activated(self, x: str) -> str:
        """Apply the fused activation."""
        code = self.operator.options.get("FusedActivationFunction", 0)
        if code == 0:
            return x
        if code not in ACTIVATIONS:
            raise Inadmissible(f"the fused activation {code} is not taken")
        return unary(self, ACTIVATIONS[code], x)

    def images(self, place: int) -> str:
        """Return an operand with its channels first."""
        if len(self.tensor(place).shape) != 4:
            raise Inadmissible(f"a tensor of shape {self.tensor(place).shape} is no batch of images")
        name = self.value(place)
        return self.graph.channels_first.get(name) or self.graph.transpose(name, TO_ONNX)

    def in_file_layout(self, x: str) -> str:
        """Bring a result with its channels first into the file's layout."""
        name = self.graph.transpose(x, TO_FILE)
        self.graph.channels_first[name] = x
        return name


def rule(*kinds: str) -> Callable[[Conversion], Conversion]:
    """Register the conversion of some operators."""

    def register(conversion: Conversion) -> Conversion:
        RULES.update(dict.fromkeys(kinds, conversion))
        return conversion

    return register


def unary(r: FloatRule, kind: str, x: str) -> str:
    """Apply a function of one number."""
    if kind in CLIPS:
        return r.graph.node("Clip", [x, *(r.scalar(end) for end in CLIPS[kind])])
    return r.graph.node(UNARY[kind], [x])


@rule(*UNARY, *CLIPS)
def _unary(r: FloatRule) -> str:
    name = r.value(0)
    if name in r.graph.channels_first:
        return r.in_file_layout(unary(r, r.operator.kind, r.graph.channels_first[name]))
    return unary(r, r.operator.kind, name)


@rule(*BINARY)
def _binary(r: FloatRule) -> str:
    return r.activated(r.graph.node(BINARY[r.operator.kind], [r.value(0), r.value(1)]))


@rule("NOT_EQUAL")
def _not_equal(r: FloatRule) -> str:
    return r.graph.node("Not", [r.graph.node("Equal", [r.value(0), r.value(1)])])


@rule("RSQRT")
def _rsqrt(r: FloatRule) -> str:
    return r.graph.node("Reciprocal", [r.graph.node("Sqrt", [r.value(0)])])


@rule("SQUARE")
def _square(r: FloatRule) -> str:
    return r.graph.node("Mul", [r.value(0), r.value(0)])


@rule("SQUARED_DIFFERENCE")
def _squared_difference(r: FloatRule) -> str:
    difference = r.graph.node("Sub", [r.value(0), r.value(1)])
    return r.graph.node("Mul", [difference, difference])


@rule("LEAKY_RELU")
def _leaky_relu(r: FloatRule) -> str:
    return r.graph.node("LeakyRelu", [r.value(0)], alpha=float(r.operator.options["Alpha"]))


@rule("PRELU")
def _prelu(r: FloatRule) -> str:
    return r.graph.node("PRelu", [r.value(0), r.value(1)])


@rule("GELU")
def _gelu(r: FloatRule) -> str:
    approximate = "tanh" if r.operator.options["Approximate"] else "none"
    return r.graph.node("Gelu", [r.value(0)], approximate=approximate)


@rule("SOFTMAX")
def _softmax(r: FloatRule) -> str:
    beta = float(r.operator.options["Beta"])
    x = r.value(0) if beta == 1 else r.graph.node("Mul", [r.value(0), r.scalar(beta)])
    return r.graph.node("Softmax", [x], axis=-1)


@rule("LOG_SOFTMAX")
def _log_softmax(r: FloatRule) -> str:
    return r.graph.node("LogSoftmax", [r.value(0)], axis=-1)


@rule("L2_NORMALIZATION")
def _l2_normalization(r: FloatRule) -> str:
    """X over the root of its summed squares, of at least 1e-6 (the kernel's epsilon)."""
    x = r.value(0)
    total = r.graph.node("ReduceSum", [r.graph.node("Mul", [x, x]), r.graph.ints(-1)], keepdims=1)
    root = r.graph.node("Sqrt", [r.graph.node("Max", [total, r.scalar(1e-6)])])
    return r.activated(r.graph.node("Div", [x, root]))


@rule(*REDUCTIONS)
def _reduction(r: FloatRule) -> str:
    rank = len(r.tensor(0).shape)
    keep = int(bool(r.operator.options["KeepDims"]))
    axes = r.axes(1, rank)
    if not axes:
        return r.graph.node("Identity", [r.value(0)])
    return r.graph.node(REDUCTIONS[r.operator.kind], [r.value(0), r.graph.ints(*axes)], keepdims=keep)


@rule("ARG_MAX", "ARG_MIN")
def _arg(r: FloatRule) -> str:
    (axis,) = r.axes(1, len(r.tensor(0).shape)) or (0,)
    operator = "ArgMax" if r.operator.kind == "ARG_MAX" else "ArgMin"
    return _cast(r, r.graph.node(operator, [r.value(0)], axis=axis, keepdims=0), "int64")


def _cast(r: FloatRule, x: str, made: str) -> str:
    from balance_core.converters.tflite.floats import ELEMENT_TYPES

    return x if r.target.dtype == made else r.graph.node("Cast", [x], to=ELEMENT_TYPES[r.target.dtype])


@rule("CAST")
def _cast_rule(r: FloatRule) -> str:
    source, target = r.tensor(0).dtype, r.target.dtype
    if source.startswith("float") and not target.startswith(("float", "bool")):
        raise Inadmissible("casting reals to integers is not taken: what is out of range has no value")
    return _cast(r, r.value(0), source)


@rule("SELECT", "SELECT_V2")
def _select(r: FloatRule) -> str:
    if r.operator.kind == "SELECT" and r.tensor(0).shape != r.tensor(1).shape:
        raise Inadmissible("its condition has another shape than what it selects from")
    return r.graph.node("Where", [r.value(0), r.value(1), r.value(2)])


@rule("EMBEDDING_LOOKUP")
def _embedding(r: FloatRule) -> str:
    return r.graph.node("Gather", [r.value(1), r.value(0)], axis=0)


@rule("ONE_HOT")
def _one_hot(r: FloatRule) -> str:
    values = r.graph.node("Concat", [r.graph.reshape(r.value(place), (1,)) for place in (3, 2)], axis=0)
    axis = int(r.operator.options["Axis"])
    return r.graph.node("OneHot", [r.value(0), r.graph.ints(*r.ints(1)), values], axis=axis)


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(r: FloatRule) -> str:
    options, depthwise = r.operator.options, r.operator.kind == "DEPTHWISE_CONV_2D"
    size, weights = r.tensor(0).shape, r.array(1)
    if len(size) != 4 or weights.ndim != 4 or (depthwise and weights.shape[0] != 1):
        raise Inadmissible(f"kernels of shape {weights.shape} do not fit images of shape {size}")
    groups = size[3] if depthwise else size[3] // weights.shape[3]
    strides = [options["StrideH"], options["StrideW"]]
    dilations = [options["DilationHFactor"], options["DilationWFactor"]]
    if min(*strides, *dilations, groups) < 1:
        raise Inadmissible("its strides and dilations are not positive")
    reach = [(n - 1) * d + 1 for n, d in zip(weights.shape[1:3], dilations, strict=True)]
    pads = same_padding(size[1:3], reach, strides) if options["Padding"] == 0 else (0, 0, 0, 0)
    kernels = weights.transpose((3, 0, 1, 2) if depthwise else TO_ONNX)
    operands = [r.images(0), r.graph.constant(kernels)]
    if r.has(2):
        operands.append(r.graph.constant(r.array(2).reshape(-1)))
    made = r.graph.node(
        "Conv",
        operands,
        kernel_shape=list(kernels.shape[2:]),
        strides=strides,
        dilations=dilations,
        group=groups,
        pads=list(pads),
    )
    return r.in_file_layout(r.activated(made))


@rule("TRANSPOSE_CONV")
def _transposed_convolution(r: FloatRule) -> str:
    options, size, weights = r.operator.options, r.tensor(2).shape, r.array(1)
    target = r.ints(0)
    if len(size) != 4 or weights.ndim != 4 or len(target) != 4:
        raise Inadmissible("its operands are no images and kernels")
    strides = [options["StrideH"], options["StrideW"]]
    if min(strides) < 1:
        raise Inadmissible("its strides are not positive")
    pads: list[tuple[int, int]] = []
    for axis in range(2):
        total = (size[1 + axis] - 1) * strides[axis] + weights.shape[1 + axis] - target[1 + axis]
        if total < 0 or (options["Padding"] == 1 and total > 0):
            raise Inadmissible("its output shape does not follow from its operands")
        pads.append((total // 2, total - total // 2))
    operands = [r.images(2), r.graph.constant(weights.transpose(3, 0, 1, 2))]
    if r.has(3):
        operands.append(r.graph.constant(r.array(3).reshape(-1)))
    made = r.graph.node(
        "ConvTranspose",
        operands,
        kernel_shape=list(weights.shape[1:3]),
        strides=strides,
        pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
    )
    return r.in_file_layout(r.activated(made))


@rule("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(r: FloatRule) -> str:
    """Windows; what lies outside the image takes no part, not in the mean either."""
    options, size = r.operator.options, r.tensor(0).shape
    kernel, strides = [options["FilterHeight"], options["FilterWidth"]], [options["StrideH"], options["StrideW"]]
    if len(size) != 4 or min(*kernel, *strides) < 1:
        raise Inadmissible("its windows are none")
    pads = same_padding(size[1:3], kernel, strides) if options["Padding"] == 0 else (0, 0, 0, 0)
    operator = "AveragePool" if r.operator.kind == "AVERAGE_POOL_2D" else "MaxPool"
    made = r.graph.node(operator, [r.images(0)], kernel_shape=kernel, strides=strides, pads=list(pads))
    return r.in_file_layout(r.activated(made))


@rule("RESIZE_BILINEAR")
def _resize_bilinear(r: FloatRule) -> str:
    options, target = r.operator.options, r.ints(1)
    n, _, _, c = r.tensor(0).shape
    check_size((n, *target, c))
    mode = (
        "align_corners" if options["AlignCorners"] else "half_pixel" if options["HalfPixelCenters"] else "asymmetric"
    )
    sizes = r.graph.ints(n, c, *target)
    made = r.graph.node("Resize", [r.images(0), "", "", sizes], mode="linear", coordinate_transformation_mode=mode)
    return r.in_file_layout(made)


@rule("FULLY_CONNECTED")
def _fully_connected(r: FloatRule) -> str:
    size, weights = r.tensor(0).shape, r.tensor(1).shape
    if r.operator.options["WeightsFormat"] or len(weights) != 2 or prod(size) % weights[1]:
        raise Inadmissible(f"weights of shape {weights} do not fit {size}")
    rows = (prod(size) // weights[1], weights[1])
    x = r.value(0) if size == rows else r.graph.reshape(r.value(0), rows)
    if r.tensor(1).place in r.constants:
        kernel = r.graph.constant(np.ascontiguousarray(r.array(1).T))
    else:
        kernel = r.graph.transpose(r.value(1), (1, 0))
    made = r.graph.node("MatMul", [x, kernel])
    if r.has(2):
        made = r.graph.node("Add", [made, r.value(2)])
    made = r.activated(made)
    return made if r.target.shape == (rows[0], weights[0]) else r.graph.reshape(made, r.target.shape)


@rule("BATCH_MATMUL")
def _batch_matmul(r: FloatRule) -> str:
    operands = []
    for place, flag in ((0, "AdjX"), (1, "AdjY")):
        order = list(range(len(r.tensor(place).shape)))
        if len(order) < 2:
            raise Inadmissible("its operands are no matrices")
        order[-2:] = order[:-3:-1]
        name = r.value(place)
        operands.append(r.graph.transpose(name, order) if r.operator.options[flag] else name)
    return r.graph.node("MatMul", operands)


def moved(r: FloatRule) -> list[str]:
    """Write an operator that moves elements: by ONNX's own operator, or as one gather over all elements."""
    kind = r.operator.kind
    if kind == "GATHER" and r.tensor(1).place not in r.constants:
        if r.operator.options["BatchDims"]:
            raise Inadmissible("batch_dims is not taken")
        axis = int(r.operator.options["Axis"])
        return [r.graph.node("Gather", [r.value(0), r.value(1)], axis=axis)]
    tensors = [r.tensor(place) for place in range(len(r.operator.inputs))]
    shapes = [tensor.shape for tensor in tensors]
    constants = [r.constants.get(tensor.place) for tensor in tensors]
    targets = [r.file.tensors[i].shape for i in r.operator.outputs]
    moving = Moving(r.operator, shapes, constants, targets)
    if r.operator.options.get("FusedActivationFunction") and kind != "CONCATENATION":
        raise Inadmissible("a fused activation is not taken here")
    found = indices(moving)  # this checks the operands, whatever is written below
    for index, shape in zip(found, targets, strict=True):
        if index.shape != shape:
            raise Inadmissible(f"it makes the shape {index.shape} and declares {shape}")
    if kind == "CONCATENATION":
        axis = moving.axis(r.operator.options["Axis"], len(shapes[0]))
        return [r.activated(r.graph.node("Concat", [r.value(i) for i in range(len(shapes))], axis=axis))]
    if kind in {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}:
        return [r.graph.reshape(r.value(0), targets[0])]
    if kind == "TRANSPOSE":
        return [r.graph.transpose(r.value(0), [n % len(shapes[0]) for n in moving.constant(1)])]
    if kind in {"PAD", "PADV2"}:
        numbers = moving.constant(1)
        value = r.array(2) if kind == "PADV2" else np.zeros((), dtype=tensors[0].dtype)
        pads = r.graph.ints(*numbers[::2], *numbers[1::2])
        return [r.graph.node("Pad", [r.value(0), pads, r.graph.constant(value.reshape(()))])]
    return _gathered(r, moving, found)


def _gathered(r: FloatRule, moving: Moving, found: Sequence[np.ndarray]) -> list[str]:
    """Write each result as slices where it is a block of the operand, and as a gather of elements otherwise."""
    shape = moving.shapes[moving.data[0]]
    results = []
    for index in found:
        block = None if len(moving.data) > 1 else _block(index, shape)
        if block is not None:
            starts, ends, steps = block
            axes = r.graph.ints(*range(len(shape)))
            name = r.value(moving.data[0])
            cut = r.graph.node(
                "Slice", [name, r.graph.ints(*starts), r.graph.ints(*ends), axes, r.graph.ints(*steps)]
            )
            size = tuple(-(-(end - start) // step) for start, end, step in zip(*block, strict=True))
            results.append(cut if size == index.shape else r.graph.reshape(cut, index.shape))
            continue
        parts = [r.graph.reshape(r.value(place), (-1,)) for place in moving.data]
        if (index == FILL).any():
            parts.append(r.graph.constant(np.zeros(1, dtype=r.tensor(moving.data[0]).dtype)))
        count = sum(prod(moving.shapes[place]) for place in moving.data)
        places = np.where(index == FILL, count, index).astype(np.int64)
        pool = parts[0] if len(parts) == 1 else r.graph.node("Concat", parts, axis=0)
        results.append(r.graph.node("Gather", [pool, r.graph.constant(places)], axis=0))
    return results


def _block(index: np.ndarray, shape: tuple[int, ...]) -> tuple[list[int], list[int], list[int]] | None:
    """Return starts, ends and steps if the index reads a regular block of a tensor, in its order."""
    flat = index.reshape(-1)
    if not shape or flat.min() < 0:
        return None
    places = np.unravel_index(flat, shape)
    starts, ends, steps, sizes = [], [], [], []
    for place in places:
        seen = np.unique(place)
        step = int(seen[1] - seen[0]) if seen.size > 1 else 1
        starts.append(int(seen[0]))
        ends.append(int(seen[-1]) + 1)
        steps.append(step)
        sizes.append(seen.size)
    parts = tuple(slice(a, b, s) for a, b, s in zip(starts, ends, steps, strict=True))
    whole = np.arange(prod(shape)).reshape(shape)[parts]
    return (starts, ends, steps) if np.array_equal(whole.reshape(-1), flat) else None
