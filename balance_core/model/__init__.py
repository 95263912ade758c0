"""Models: load, identify, normalise, expand, run as floats, and compare with what was proven.

This module imports neither numpy nor onnx, so that a worker may read a Model without them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
from balance_core.records import Digest, Label, Name, Record, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

_MAGIC = b"balance model 2\n"
_MAX_HEADER_BYTES = 2**20


@dataclass(frozen=True)
class Model:
    """One ONNX graph with its weights, in normal form; or one integer model, of a format that is integers already.

    `model_id` is the identity of the model as its author wrote it; `onnx` is what it was normalised to, serialised.
    Of an integer model `onnx` is empty and `integer` holds its canonical encoding, weights included.
    Inputs and outputs have fixed shapes. `operators` holds the sorted distinct operators of the normal form, those
    outside the default domain as `ai.onnx.ml::Scaler`. `original` is the model as it was loaded, weights included, to
    compare with; it is not part of a packed model.
    """

    model_id: str
    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[str, ...]
    onnx: bytes = field(repr=False)
    original: bytes | None = field(default=None, repr=False, compare=False)
    integer: bytes | None = field(default=None, repr=False)

    def proto(self) -> ModelProto:
        """Parse the normal form; a new object each time, that the caller may edit.

        Raises UnsupportedModel for an integer model: there is no graph of floats behind it.
        """
        from onnx import ModelProto

        if self.integer is not None:
            mend = "use a backend that takes integer models, or convert the model in floating point"
            issue = NodeIssue(self.name, "integer model", "its weights and arithmetic are integers already", mend)
            raise UnsupportedModel("this model has no ONNX graph", issues=[issue])

        proto: ModelProto = ModelProto.FromString(self.onnx)
        return proto

    def to_bytes(self) -> bytes:
        """Pack the model, without its original, to be handed to another process."""
        body = self.onnx if self.integer is None else self.integer
        header = _Header(
            model_id=self.model_id,
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
            form="onnx" if self.integer is None else "integer",
            sha256=hashlib.sha256(body).hexdigest(),
        ).to_json()
        return b"".join([_MAGIC, len(header).to_bytes(4, "big"), header, body])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Unpack what `to_bytes` wrote, and nothing else: raises ConfigError.

        The description is that of the packer: unpack only what comes from a place that you trust.
        """
        start = len(_MAGIC) + 4
        size = int.from_bytes(data[len(_MAGIC) : start], "big")
        if data[: len(_MAGIC)] != _MAGIC or size > _MAX_HEADER_BYTES or len(data) < start + size:
            raise ConfigError("this is no packed model", hint="load models from .onnx files with load()")
        header = _Header.from_json(data[start : start + size], max_size=_MAX_HEADER_BYTES)
        body = data[start + size :]
        if hashlib.sha256(body).hexdigest() != header.sha256:
            raise ConfigError("the packed model is damaged: its graph does not match its digest")
        onnx, integer = (body, None) if header.form == "onnx" else (b"", body)
        return cls(
            header.model_id, header.name, header.inputs, header.outputs, header.operators, onnx, integer=integer
        )


class _Header(Record):
    """What stands before the graph in a packed model."""

    kind: ClassVar[str] = "packed-model"
    model_id: Digest
    name: Name
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[Label, ...]
    form: Literal["onnx", "integer"]
    sha256: Digest
