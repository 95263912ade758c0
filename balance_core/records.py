"""The values that travel between people, stages and machines: frozen, versioned, and with one encoding each.

A record's bytes are its RFC 8785 JSON. `from_json` accepts exactly the bytes that `to_json` writes, so that no two
encodings of one record exist, and a digest of a record is a digest of its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from balance_core import canonical, cid
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

MAX_RECORD_BYTES = 64 * 2**20
"""Largest JSON form of one record that is read, in bytes."""
MAX_TENSOR_ELEMENTS = 2**24
"""Largest number of elements of a tensor in a statement."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 as 64 lower-case hex digits."""
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
"""Bytes as lower-case hex."""
PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""An Ed25519 public key, 32 bytes as hex."""
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
"""An Ed25519 signature, 64 bytes as hex."""
Cid = Annotated[str, Field(pattern=r"^b[a-z2-7]{10,120}$")]
"""A CIDv1 in base32, as `balance_core.cid` computes it."""
Context = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""The 32 bytes that name the request, as hex."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A plugin, part or model name that is safe in a path."""
Label = Annotated[str, Field(min_length=1, max_length=256)]
"""A tensor or node name as the model's author wrote it."""


class Record(BaseModel):
    """A frozen value with a schema version, one canonical encoding and a digest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings", defer_build=True)

    kind: ClassVar[str]
    schema_version: Literal[1] = 1

    def to_json(self) -> bytes:
        """Return the canonical JSON bytes."""
        return canonical.encode(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes, *, max_size: int = MAX_RECORD_BYTES) -> Self:
        """Read a record from its canonical bytes; raises ConfigError for any other bytes."""
        value = canonical.decode(data, max_size=max_size, what=f"{cls.kind} record")
        record = cls.from_value(value)
        if record.to_json() != data:
            raise ConfigError(f"{cls.kind} record is not in canonical form")
        return record

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Build a record from parsed JSON; raises ConfigError that names the first wrong field."""
        try:
            return cls.model_validate(value, strict=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "value"
            raise ConfigError(f"{cls.kind} record: {where}: {first['msg']}") from error

    @property
    def digest(self) -> str:
        """SHA-256 over the kind and the canonical bytes."""
        return canonical.digest(f"record/{self.kind}/{self.schema_version}", self.to_json())


class Trust(StrEnum):
    """Where a proof system's public parameters come from."""

    CEREMONY = "ceremony"
    TRANSPARENT = "transparent"
    INSECURE_TEST = "insecure-test"


class SetupTrust(Record):
    """The trust in a setup, derived from the verifying key itself; `ceremony` names the pinned parameters."""

    kind: ClassVar[str] = "setup-trust"
    trust: Trust
    parameters: Digest | None = None
    """Digest of the parameters that the verifier relies on (for KZG: the points g, g2 and s_g2)."""

    @property
    def is_test_only(self) -> bool:
        """Whether somebody may know how to forge proofs under this setup."""
        return self.trust is Trust.INSECURE_TEST


class TensorSpec(Record):
    """The name, element type (numpy's name for it) and fixed shape of one input or output of a model."""

    kind: ClassVar[str] = "tensor-spec"
    name: Label
    dtype: Literal[
        "bool",
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ]
    shape: tuple[Annotated[int, Field(ge=0)], ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)


class Tensor(Record):
    """Exact numbers of a statement: element i means (integers[i] - zero_point) * numerator / denominator."""

    kind: ClassVar[str] = "tensor"
    name: Label
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    integers: tuple[int, ...]
    numerator: Annotated[int, Field(gt=0)] = 1
    denominator: Annotated[int, Field(gt=0)] = 1
    zero_point: int = 0

    @model_validator(mode="after")
    def _shape_fits(self) -> Self:
        if prod(self.shape) != len(self.integers) or len(self.integers) > MAX_TENSOR_ELEMENTS:
            raise ValueError(f"shape {self.shape} does not fit {len(self.integers)} integers")
        return self

    def to_json(self) -> bytes:
        """Return the canonical JSON bytes, written out: tensors have most of the numbers of all records."""
        integers, largest = self.integers, canonical.MAX_EXACT_INT
        plain = not integers or (-largest < min(integers) and max(integers) < largest)
        number = str if plain else _number
        fields = (
            f'"denominator":{_number(self.denominator)}',
            f'"integers":[{",".join(map(number, integers))}]',
            f'"name":{canonical.encode(self.name).decode()}',
            f'"numerator":{_number(self.numerator)}',
            f'"schema_version":{self.schema_version}',
            f'"shape":[{",".join(map(_number, self.shape))}]',
            f'"zero_point":{_number(self.zero_point)}',
        )
        return f"{{{','.join(fields)}}}".encode()

    @property
    def scale(self) -> Fraction:
        """The value of one unit."""
        return Fraction(self.numerator, self.denominator)

    def real(self) -> np.ndarray:
        """Return the numbers meant, as float64 of the tensor's shape (exact while they fit a double)."""
        import numpy as np

        unit = self.numerator / self.denominator
        return np.array([(i - self.zero_point) * unit for i in self.integers], dtype=np.float64).reshape(self.shape)


def _number(value: int) -> str:
    """Return an integer as canonical JSON has it."""
    return str(value) if -canonical.MAX_EXACT_INT < value < canonical.MAX_EXACT_INT else f'"{value}"'


class HiddenTensor(Record):
    """A private input: the statement holds a hiding commitment to it, and not its values."""

    kind: ClassVar[str] = "hidden-tensor"
    name: Label
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    scheme: Label
    commitment: Hex


class Statement(Record):
    """What a proof says: under this circuit and commitment, for this request, these inputs gave these outputs.

    It only ever comes out of verification.
    """

    kind: ClassVar[str] = "statement"
    circuit_id: Digest
    commitment_id: Digest | None = None
    context: Context
    inputs: tuple[Tensor | HiddenTensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def inputs_digest(self) -> str:
        """The digest of the inputs alone, which with registration and context names the request."""
        return canonical.digest("inputs/1", *(tensor.to_json() for tensor in self.inputs))


class InputOpening(Record):
    """What stands behind the private inputs of one statement; a secret of whoever asked, and of the provider."""

    kind: ClassVar[str] = "input-opening"
    circuit_id: Digest
    context: Context
    inputs: tuple[Tensor, ...]
    blind: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelCommitment(Record):
    """What binds the weights when the verifying key does not; its form is the backend's own.

    It is one provider's, and shows that it is: whoever copies it cannot register it as his own.
    """

    kind: ClassVar[str] = "model-commitment"
    backend: Name
    provider: PublicKey
    data: Hex

    @property
    def commitment_id(self) -> str:
        """The digest that registrations and statements name."""
        return self.digest


class Opening(Record):
    """The provider's secret side of a commitment, as content of its own workspace; it never travels."""

    kind: ClassVar[str] = "opening"
    blobs: dict[Name, Cid] = {}


class Commitment(Record):
    """A commitment to a model's weights: the public part, if the key does not bind them, and the opening."""

    kind: ClassVar[str] = "commitment"
    public: ModelCommitment | None = None
    opening: Opening = Opening()


def circuit_id(backend: str, key: dict[str, str]) -> str:
    """Return the digest of everything that a verifier relies on: the backend's name and each part's CID."""
    return canonical.digest("circuit/1", canonical.encode({"backend": backend, "key": key}))


class Circuit(Record):
    """What `setup` makes: the parts of the verifying key, the proving side, and the shape of the interface.

    `key` and `proving` map part names to content of the workspace. The verifier is handed `key` and nothing else.
    """

    kind: ClassVar[str] = "circuit"
    backend: Name
    backend_version: Label
    model_id: Digest
    settings: dict[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    setup_trust: SetupTrust
    key: dict[Name, Cid]
    proving: dict[Name, Cid] = {}
    facts: dict[str, int | float | str | bool] = {}
    """What the backend tells about the circuit (rows, k, scales ...), for people; nothing relies on it."""

    @property
    def circuit_id(self) -> str:
        """The digest of everything that the verifier relies on."""
        return circuit_id(self.backend, dict(self.key))

    @property
    def making(self) -> Making:
        """What a stranger needs to make the circuit again, and nothing that tells of private weights."""
        return Making(backend=self.backend, backend_version=self.backend_version, settings=self.settings)


class Making(Record):
    """How a circuit was made: the backend, and settings that make it again."""

    kind: ClassVar[str] = "making"
    backend: Name
    backend_version: Label
    settings: dict[str, Any]


class Registration(Record):
    """A model as its provider stands behind it; published, and named by its digest."""

    kind: ClassVar[str] = "registration"
    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    backend: Name
    backend_version: Label
    circuit_id: Digest
    commitment_id: Digest | None = None
    setup_trust: SetupTrust
    provider: PublicKey
    model_id: Digest | None = None
    """Only where the weights are public: a bare digest of private weights would confirm a guess."""
    previous: Digest | None = None
    """The registration that this version replaces."""

    @property
    def registration_id(self) -> str:
        """The digest that names this registration."""
        return self.digest


@dataclass(frozen=True)
class VerifyingKey:
    """Everything that a verifier relies on, as named bytes; its `circuit_id` covers every one of them."""

    backend: str
    parts: Mapping[str, bytes]

    @property
    def circuit_id(self) -> str:
        """The digest that registrations name."""
        return circuit_id(self.backend, {name: cid.of_bytes(data) for name, data in self.parts.items()})


@dataclass(frozen=True)
class Proof:
    """A proof as opaque bytes, and the backend whose verifier reads them."""

    backend: str
    data: bytes


class OutputFidelity(Record):
    """How far one output's proven numbers are from the float model's: absolute errors over all samples."""

    kind: ClassVar[str] = "output-fidelity"
    name: Label
    largest_error: float
    mean_error: float


class Fidelity(Record):
    """How faithful proven answers are to the float model's.

    `top1_agreement` is the share of samples with the same decision; None for a model that gives one number only.
    """

    kind: ClassVar[str] = "fidelity"
    samples: Annotated[int, Field(ge=1)]
    disagreements: Annotated[int, Field(ge=0)] | None
    top1_agreement: Annotated[float, Field(ge=0, le=1)] | None
    largest_error: float
    mean_error: float
    outputs: tuple[OutputFidelity, ...]
