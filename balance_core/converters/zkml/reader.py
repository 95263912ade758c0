"""The files of the zkml project, checked: a model, its inputs, and the configuration that its verifier reads.

All three are msgpack. A model is a map of scale, width, tensors and layers; an input file is a list of tensors; a
configuration is a model whose tensors hold no data. Older files lack `num_random` and the `commit_*` lists and have
`commit` instead; neither changes a number, and both are read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.converters.sources import read_bytes
from balance_core.errors import ConfigError, ToolNotFound, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from balance_core.integer.model import IntegerModel

MAX_FILE = 2**26
"""Largest file that is read, in bytes; its integers take about eight times as much memory."""
MAX_ARRAY = 2**23
"""Longest list in a file."""
MAX_LAYERS = 2**14
MAX_RANK = 8
MAX_SCALE = 2**30
"""Largest `global_sf`."""
MAX_VALUE = 2**31
"""Integers of tensors stand below this magnitude: beyond it the format itself goes wrong."""
MIN_K, MAX_K = 4, 30
"""Widths for which the format's range [-2^(k-1), 2^(k-1) - 10] is one."""
HINT = "give the model.msgpack that the zkml project's converter writes"


@dataclass(frozen=True)
class Layer:
    """One layer: its kind, parameters, and the tensors that it reads and makes."""

    place: int
    kind: str
    params: tuple[int, ...]
    inputs: tuple[int, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """How messages call the layer."""
        return f"layer {self.place}"


@dataclass(frozen=True)
class ZkmlModel:
    """A model file whose every field has the form that the format promises."""

    scale: int
    """`global_sf`: an integer i stands for i / scale."""
    k: int
    columns: int
    """`num_cols`: how wide the format's own circuit is, which decides how it rounds a softmax."""
    weights: dict[int, np.ndarray]
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]

    @property
    def least(self) -> int:
        """The least integer of the format's range."""
        return -(1 << (self.k - 1))

    @property
    def most(self) -> int:
        """The largest integer of the format's range."""
        return (1 << (self.k - 1)) - 10

    def input_shapes(self) -> dict[int, tuple[int, ...]]:
        """Return the inputs, which no layer makes and the file does not hold, with their shapes."""
        made = {number for layer in self.layers for number in layer.outputs}
        found: dict[int, tuple[int, ...]] = {}
        for layer in self.layers:
            for number, shape in zip(layer.inputs, layer.input_shapes, strict=True):
                if number not in made and number not in self.weights:
                    found.setdefault(number, shape)
        return found


def read_model(source: Path) -> ZkmlModel:
    """Read a model with its weights; raises ConfigError for any other file, UnsupportedModel for an unsafe one."""
    model = _model(_unpacked(source), source.name)
    if not model.weights or any(array.size == 0 for array in model.weights.values()):
        raise ConfigError(f"{source.name} is a configuration: it holds no weights", hint=HINT)
    return model


def read_configuration(source: Path) -> ZkmlModel:
    """Read a configuration, whose tensors hold no data; raises as `read_model` does."""
    return _model(_unpacked(source), source.name)


def check_configuration(configuration: ZkmlModel, model: ZkmlModel) -> None:
    """Raise ConfigError unless the configuration is that of the model, so far as it changes any number."""
    for what in ("scale", "k", "columns", "layers", "outputs"):
        if getattr(configuration, what) != getattr(model, what):
            raise ConfigError(f"the configuration is of another model: its {what} differs")


def read_inputs(source: Path, wanted: Mapping[int, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read an input file: integers at the model's scale, one array of shape (1, *shape) for each tensor wanted.

    Raises ConfigError for tensors that are missing, unknown, or of another shape.
    """
    value = _unpacked(source)
    if not isinstance(value, list):
        raise ConfigError(f"{source.name} is no list of tensors", hint="give the inp.msgpack made for the model")
    given = _tensors(value, source.name)
    if sorted(given) != sorted(wanted):
        raise ConfigError(f"{source.name} holds the tensors {sorted(given)}, and the model takes {sorted(wanted)}")
    for number, array in given.items():
        if array.shape != wanted[number]:
            raise ConfigError(f"{source.name}: tensor {number} has the shape {array.shape}, not {wanted[number]}")
    return {input_name(number): array[None] for number, array in given.items()}


def read_reals(source: Path, model: IntegerModel) -> dict[str, np.ndarray]:
    """Read an input file for an integer model that was made of this format, as the real numbers that it stands for.

    Quantising these gives the file's integers again.
    """
    named = {op.label: (place, op) for place, op in model.inputs}
    wanted = {int(name[1:]): op.to for name, (_, op) in named.items() if name[:1] == "t" and name[1:].isdecimal()}
    if len(wanted) != len(named):
        raise ConfigError("only models of the zkml project take .msgpack inputs", hint="give a .npy or .npz file")
    arrays = read_inputs(source, wanted)
    for name, array in arrays.items():
        op = named[name][1]
        if int(array.min()) < op.lo or int(array.max()) > op.hi:
            raise ConfigError(f"{source.name}: tensor {name[1:]} leaves the model's range [{op.lo}, {op.hi}]")
    return {name: array * float(model.nodes[named[name][0]].scale) for name, array in arrays.items()}


def input_name(number: int) -> str:
    """Return the name under which an integer model knows a tensor of the file."""
    return f"t{number}"


def _unpacked(source: Path) -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise ToolNotFound(
            "reading zkml files needs the msgpack package", hint="pip install 'balance-core[zkml]'"
        ) from error
    data = read_bytes(source, MAX_FILE, HINT)
    try:
        return msgpack.unpackb(
            data, max_array_len=MAX_ARRAY, max_map_len=64, max_str_len=256, max_bin_len=0, max_ext_len=0
        )
    except (ValueError, TypeError, MemoryError, RecursionError) as error:  # msgpack's own errors are ValueErrors
        raise ConfigError(f"{source.name} is not a msgpack file of this format", hint=HINT) from error


def _model(value: Any, name: str) -> ZkmlModel:
    fields = {"global_sf", "k", "num_cols", "tensors", "layers", "out_idxes"}
    if not isinstance(value, dict) or not fields <= set(value):
        raise ConfigError(f"{name} is no model of the zkml project", hint=HINT)
    scale, k = _integer(value["global_sf"], "global_sf"), _integer(value["k"], "k")
    columns = _integer(value["num_cols"], "num_cols")
    if not 1 <= scale <= MAX_SCALE or not MIN_K <= k <= MAX_K or not 3 <= columns <= 2**16:
        raise ConfigError(f"{name}: global_sf {scale}, k {k} or num_cols {columns} is out of range", hint=HINT)
    if value.get("use_selectors", True) is not True:
        raise UnsupportedModel(
            "use_selectors is false: the format then constrains nothing, and its proofs hold for any answer",
            hint="write the file again with use_selectors",
        )
    outputs = _integers(value["out_idxes"], "out_idxes")
    if not outputs:
        raise UnsupportedModel("the model states no outputs (out_idxes is empty)", hint="write it with expose_output")
    if len(set(outputs)) != len(outputs):
        raise UnsupportedModel("out_idxes names a tensor twice")
    layers = value["layers"]
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise ConfigError(f"{name} has no list of 1 to {MAX_LAYERS} layers", hint=HINT)
    weights = _tensors(value["tensors"], name)
    read = tuple(_layer(place, item) for place, item in enumerate(layers))
    return ZkmlModel(scale, k, columns, weights, read, outputs)


def _layer(place: int, value: Any) -> Layer:
    what = f"layer {place}"
    fields = {"layer_type", "params", "inp_idxes", "inp_shapes", "out_idxes", "out_shapes"}
    if not isinstance(value, dict) or not fields <= set(value) or not isinstance(value["layer_type"], str):
        raise ConfigError(f"{what} lacks a field", hint=HINT)
    if not value["layer_type"].isidentifier():
        raise ConfigError(f"{what} has no name of a kind", hint=HINT)
    if value.get("mask"):
        raise UnsupportedModel(
            f"{what} has a mask, which replaces values by others", hint="write the model without the mask"
        )
    if value.get("implementation"):
        raise UnsupportedModel(f"{what} asks for an implementation of its own, whose rounding is not specified")
    layer = Layer(
        place,
        value["layer_type"],
        _integers(value["params"], f"{what}: params"),
        _integers(value["inp_idxes"], f"{what}: inp_idxes"),
        _shapes(value["inp_shapes"], f"{what}: inp_shapes"),
        _integers(value["out_idxes"], f"{what}: out_idxes"),
        _shapes(value["out_shapes"], f"{what}: out_shapes"),
    )
    if len(layer.inputs) != len(layer.input_shapes) or len(layer.outputs) != len(layer.output_shapes):
        raise ConfigError(f"{what} does not give one shape for each tensor", hint=HINT)
    if not layer.inputs or not layer.outputs:
        raise ConfigError(f"{what} reads or makes no tensor", hint=HINT)
    return layer


def _tensors(value: Any, name: str) -> dict[int, np.ndarray]:
    """Return tensors by their ids; those of a configuration, which have no data, are left empty."""
    if not isinstance(value, list):
        raise ConfigError(f"{name} has no list of tensors", hint=HINT)
    found: dict[int, np.ndarray] = {}
    for item in value:
        if not isinstance(item, dict) or not {"idx", "shape", "data"} <= set(item):
            raise ConfigError(f"{name}: a tensor lacks a field", hint=HINT)
        number = _integer(item["idx"], "idx")
        shape = _shapes([item["shape"]], f"tensor {number}")[0]
        if number in found:
            raise UnsupportedModel(f"tensor {number} is given twice, and nothing says which holds")
        data = item["data"]
        if not isinstance(data, list) or (data and len(data) != prod(shape)):
            raise ConfigError(f"tensor {number}: its data does not fill the shape {shape}", hint=HINT)
        found[number] = _array(data, number).reshape(shape) if data else np.zeros((0,), dtype=np.int64)
    return found


def _array(data: list[Any], number: int) -> np.ndarray:
    if not all(type(item) is int and abs(item) < MAX_VALUE for item in data):
        raise ConfigError(f"tensor {number} holds something else than integers below 2^31", hint=HINT)
    return np.array(data, dtype=np.int64)


def _shapes(value: Any, what: str) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{what} are no shapes", hint=HINT)
    shapes = tuple(_integers(item, what) for item in value)
    if any(len(shape) > MAX_RANK or any(not 1 <= n <= MAX_ARRAY for n in shape) for shape in shapes):
        raise ConfigError(f"{what}: no tensor has the shape {next(iter(shapes), ())}", hint=HINT)
    return shapes


def _integers(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{what} is no list of integers", hint=HINT)
    return tuple(_integer(item, what) for item in value)


def _integer(value: Any, what: str) -> int:
    if type(value) is not int or abs(value) > 2**63:
        raise ConfigError(f"{what} holds something that is no integer", hint=HINT)
    return value
