"""Read a model from a file or from memory, give it its identity, and normalise it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message import DecodeError, EncodeError, Message  # type: ignore[import-untyped]  # nor here
from onnx import ModelProto, helper
from pydantic import ValidationError

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import Model, external, identity, safe_name
from balance_core.model.graph import operator
from balance_core.model.ml import shape
from balance_core.model.normalise import normalise
from balance_core.model.tensors import MAX_MODEL_BYTES
from balance_core.records import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ValueInfoProto


def load(
    source: Path | str | bytes | ModelProto, *, name: str | None = None, dimensions: Mapping[str, int] | None = None
) -> Model:
    """Load an ONNX model of opset 11 or newer, from its path, its bytes or a ModelProto, and normalise it.

    `dimensions` gives sizes to symbolic dimensions (a batch is 1 otherwise); `name` is a safe name, made from the
    file's otherwise. Raises ConfigError for a file that cannot be read or is not a valid model, UnsupportedModel with
    every offending node by name for a model that cannot be proven.
    """
    proto = read(source)
    identifier = identity.model_id(proto)
    original = _serialised(proto)
    normal = normalise(proto, dimensions)
    stem = Path(source).stem if isinstance(source, (str, Path)) else "model"
    return describe(normal, identifier, name=name or safe_name(stem), original=original)


def read(source: Path | str | bytes | ModelProto) -> ModelProto:
    """Read a model with all its weights, and check nothing but that it is one; raises as `load` does."""
    if isinstance(source, ModelProto):
        return _parsed(_serialised(source), "the model")
    if isinstance(source, bytes):
        return _parsed(source, "the model")
    path = Path(source)
    hint = "give the path of an .onnx file"
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, not a model", hint=hint)
        if size > MAX_MODEL_BYTES:
            raise UnsupportedModel(f"{path} has {size} bytes, more than 2 GiB")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the model {str(path)!r}: {reason}", hint=hint) from error
    proto = _parsed(data, str(path))
    external.embed(proto, path.parent)
    return proto


def _parsed(data: bytes, what: str) -> ModelProto:
    hint = "export the model again, as ONNX; other formats need `balance convert`"
    if len(data) > MAX_MODEL_BYTES:
        raise UnsupportedModel(f"{what} has {len(data)} bytes, more than 2 GiB")
    try:
        proto: ModelProto = ModelProto.FromString(data)
    except (DecodeError, RuntimeError) as error:
        raise ConfigError(f"{what} is not an ONNX model, or is cut short", hint=hint) from error
    if not proto.ir_version or not proto.HasField("graph") or not proto.opset_import:
        raise ConfigError(f"{what} is not an ONNX model", hint=hint)
    if not _is_text(proto):
        raise ConfigError(f"{what} holds names that are not UTF-8", hint=hint)
    if not proto.graph.output:
        raise ConfigError(f"{what} has no output", hint=hint)
    return proto


def _is_text(message: Message) -> bool:
    """Return whether all strings inside are text: protobuf's Python gives bytes where they are not UTF-8."""
    for descriptor, value in message.ListFields():
        items = (value,) if isinstance(value, (bytes, str, Message)) else value
        if descriptor.type == FieldDescriptor.TYPE_STRING and not all(isinstance(item, str) for item in items):
            return False
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE and not all(map(_is_text, items)):
            return False
    return True


def _serialised(proto: ModelProto) -> bytes:
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise UnsupportedModel("the model has more than 2 GiB") from error


def describe(proto: ModelProto, identifier: str, *, name: str, original: bytes | None = None) -> Model:
    """Return a normalised ModelProto as a Model."""
    try:
        inputs = tuple(map(_spec, proto.graph.input))
        outputs = tuple(map(_spec, proto.graph.output))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(f"an input or output of the model cannot be described: {problem}") from error
    return Model(
        model_id=identifier,
        name=name,
        inputs=inputs,
        outputs=outputs,
        operators=tuple(sorted({operator(node) for node in proto.graph.node})),
        onnx=_serialised(proto),
        original=original,
    )


def _spec(value: ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return TensorSpec.model_validate({"name": value.name, "dtype": dtype, "shape": shape(value.type) or ()})
