"""The float reference: what a model answers under onnxruntime. The only module that imports onnxruntime."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from balance_core.errors import ConfigError, ToolNotFound
from balance_core.model.draft import LABELS_KEY
from balance_core.model.fidelity import difference
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from balance_core.model import Model


@cache
def _runtime() -> ModuleType:
    """Import onnxruntime so that it writes no files, calls nobody and prints nothing."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolNotFound("onnxruntime is not installed", hint="pip install onnxruntime") from error
    onnxruntime.set_default_logger_severity(4)
    module: ModuleType = onnxruntime
    return module


def warm_up() -> None:
    """Import onnxruntime before it is needed; raises ToolNotFound."""
    _runtime()


def run(model: bytes | ModelProto, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the model's outputs for every sample of a batch, as floats compute them.

    Every array of `batch` has the shape (N, *input shape), every result (N, *output shape). One thread, one sample
    after another, so that no result depends on how samples were grouped. Scores that a ZipMap gives become an array
    in the order of its classes; names of classes stay strings. Raises ConfigError where onnxruntime refuses.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    proto = ModelProto.FromString(model) if isinstance(model, bytes) else model
    names = [output.name for output in proto.graph.output]
    rows = []
    try:
        data = _sheltered(proto).SerializeToString()
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        inputs = {value.name: batch[value.name] for value in session.get_inputs()}
        for sample in range(min(map(len, inputs.values()), default=0)):
            rows.append(session.run(names, {name: array[sample] for name, array in inputs.items()}))  # noqa: PERF401
    except KeyError as error:
        raise ConfigError(f"the batch has no array for the input {error}") from error
    except Exception as error:  # onnxruntime raises its own types, one for each status code
        raise ConfigError(f"onnxruntime does not run the model: {' '.join(str(error).split())[-300:]}") from error
    if not rows:
        raise ConfigError("the batch holds no samples")
    orders = _map_orders(proto)
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {name: np.stack([_array(value, orders.get(name)) for value in column]) for name, column in columns.items()}


def _sheltered(proto: ModelProto) -> ModelProto:
    """Return the model with the inputs of each Normalizer as further outputs, so that nothing overwrites them.

    onnxruntime 1.32 lets this operator work in place where shapes are fixed, and then the signs of its results are
    lost.
    """
    read = {name for node in proto.graph.node if node.op_type == "Normalizer" for name in node.input}
    read -= {value.name for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer)}
    if not read:
        return proto
    sheltered = ModelProto()
    sheltered.CopyFrom(proto)
    sheltered.graph.output.extend(ValueInfoProto(name=name) for name in sorted(read))
    return sheltered


def answers(model: Model, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the original model's answers in the form of the normalised one: names of classes as their numbers.

    Those of an integer model are the real numbers that its integers stand for.
    """
    if model.integer is not None:
        from balance_core.model import integers

        return integers.answers(model.integer, batch)
    return _in_normal_form(model.original or model.onnx, model.onnx, batch)


def largest_difference(
    original: bytes | ModelProto, normalised: bytes | ModelProto, batch: Mapping[str, np.ndarray]
) -> float:
    """Return the largest absolute difference between the two models' outputs, over all outputs and samples."""
    left, right = _in_normal_form(original, normalised, batch), run(normalised, batch)
    for name, array in right.items():
        if name not in left or left[name].size != array.size:
            raise ConfigError(f"the original model does not have the output {name!r} in the shape {array.shape[1:]}")
    return max(
        float(difference(left[name].reshape(array.shape), array).max(initial=0)) for name, array in right.items()
    )


def _in_normal_form(
    original: bytes | ModelProto, normalised: bytes | ModelProto, batch: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    outputs = run(original, batch)
    if all(array.dtype.kind in "biuf" for array in outputs.values()):
        return outputs
    names = labels(normalised)
    for name, array in outputs.items():
        if array.dtype.kind not in "biuf":
            numbers = {text: number for number, text in enumerate(names.get(name, ()))}
            try:
                outputs[name] = np.array([numbers[text] for text in array.flat], dtype=np.int64).reshape(array.shape)
            except KeyError as error:
                raise ConfigError(
                    f"the original model answers {error} in {name!r}, which is no known class"
                ) from error
    return outputs


def labels(model: bytes | ModelProto) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes that the model's integer outputs stand for, by output name."""
    proto = ModelProto.FromString(model) if isinstance(model, bytes) else model
    return {
        entry.key.removeprefix(LABELS_KEY): tuple(json.loads(entry.value))
        for entry in proto.metadata_props
        if entry.key.startswith(LABELS_KEY)
    }


def _map_orders(proto: ModelProto) -> dict[str, list[Any]]:
    """Return the order of the classes in each value that a ZipMap makes."""
    orders = {}
    for node in proto.graph.node:
        if node.op_type == "ZipMap" and node.output:
            given = attributes(node)
            texts = [text.decode("utf-8", "replace") for text in given.get("classlabels_strings", ())]
            orders[node.output[0]] = texts or list(given.get("classlabels_int64s", ()))
    return orders


def _array(value: Any, order: list[Any] | None) -> np.ndarray:
    if isinstance(value, list):  # one map from class to score for each row
        return np.array([[row[key] for key in order or sorted(row)] for row in value], dtype=np.float32)
    return np.asarray(value)
