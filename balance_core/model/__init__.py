"""Models: load, identify, normalise, expand, run as floats, and compare with what was proven.

This module imports neither numpy nor onnx, so that a worker may read a Model without them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
from balance_core.records import Digest, Label, Name, Record, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

_MAGIC = b"balance model 3\n"
_MAX_HEADER_BYTES = 2**20


def safe_name(stem: str) -> str:
    """Return the stem as a name that is safe in a path: lower case, [a-z0-9._-], at most 64 characters."""
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).lstrip("._-")[:64].rstrip("-")
    return name or "model"


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
        header = _Header(
            model_id=self.model_id,
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
            form="onnx" if self.integer is None else "integer",
        ).to_json()
        body = b"".join([len(header).to_bytes(4, "big"), header, self.onnx if self.integer is None else self.integer])
        return b"".join([_MAGIC, hashlib.sha256(body).digest(), body])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Unpack what `to_bytes` wrote, and nothing else: raises ConfigError.

        A digest inside finds damage, not deceit: unpack only what comes from a place that you trust.
        """
        magic, digest, body = data[: len(_MAGIC)], data[len(_MAGIC) :][:32], data[len(_MAGIC) + 32 :]
        if magic != _MAGIC or hashlib.sha256(body).digest() != digest:
            raise ConfigError("this is no packed model, or a damaged one", hint="load models from .onnx files")
        start = 4 + int.from_bytes(body[:4], "big")
        header = _Header.from_json(body[4:start], max_size=_MAX_HEADER_BYTES)
        onnx, integer = (body[start:], None) if header.form == "onnx" else (b"", body[start:])
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
