"""The verifying key's parts: `key` (ezkl's), `settings` (ezkl's settings and our interface), `srs` (388 bytes).

Whoever made a key may have made it to mislead: until somebody pins its circuit_id it is a stranger's bytes. So the
settings are read into closed classes that accept one way of proving (public inputs and outputs, fixed weights), sizes
that a verifier can afford, and an interface that agrees with them to the last element.
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from balance_core import canonical
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import TensorSpec
from balance_core.srs import Parameters
from balance_ezkl.tool import EZKL_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTEXT = TensorSpec(name="balance.context", dtype="int64", shape=(1, 16))
"""The input that binds the request: its 32 bytes as 16 limbs of 16 bits, the first two bytes first, big endian."""

MIN_LOGROWS, MAX_LOGROWS = 6, 26
"""What ezkl proves with: its own bounds."""
MAX_COLUMNS = 4096
"""More columns of one kind than any circuit that a machine could prove."""
MAX_TABLE_COLUMNS = 12
"""How many columns ezkl lets a lookup table spread over."""
MAX_SETTINGS_BYTES = 2**24
MAX_KEY_BYTES = 2**30
MAX_INSTANCES = 2**24
MAX_BITS = 62
"""Widest range of values that a circuit may check: products of four such values are still below the field's order, so
that what holds in the field holds for whole numbers."""
MAX_SCALE = 120

Count = Annotated[int, Field(ge=0, lt=2**48)]
Scale = Annotated[int, Field(ge=0, le=MAX_SCALE)]
Bound = Annotated[int, Field(gt=-(2**48), lt=2**48)]
Range = tuple[Bound, Bound]
Shape = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_INSTANCES)], ...], Field(max_length=16)]
Argument = Annotated[float, Field(allow_inf_nan=False)] | Annotated[int, Field(gt=-(2**53), lt=2**53)]
Lookup = (
    Annotated[str, Field(pattern=r"^[A-Za-z]{1,32}$")]
    | Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z]{1,32}$")], dict[Annotated[str, Field(max_length=32)], Argument]
        ],
        Field(min_length=1, max_length=1),
    ]
)
Equation = tuple[
    Annotated[str, Field(pattern=r"^[A-Za-z]{0,24}(,[A-Za-z]{0,24}){0,8}->[A-Za-z]{0,24}$")],
    dict[Annotated[str, Field(pattern=r"^[A-Za-z]$")], Annotated[int, Field(ge=1, le=2**32)]],
]
InputType = Literal["Bool", "F16", "F32", "F64", "Int", "TDim"]


class Part(BaseModel):
    """A closed, frozen piece of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class RunArgs(Part):
    """ezkl's arguments of a circuit; what would make a proof say less than a statement does is not accepted."""

    input_scale: Scale
    param_scale: Scale
    rebase_scale: Scale | None
    scale_rebase_multiplier: Annotated[int, Field(ge=1, le=64)]
    lookup_range: Range
    logrows: Annotated[int, Field(ge=MIN_LOGROWS, le=MAX_LOGROWS)]
    num_inner_cols: Annotated[int, Field(ge=1, le=64)]
    variables: tuple[tuple[Literal["batch_size"], Literal[1]]]
    input_visibility: Literal["Public"]
    output_visibility: Literal["Public"]
    param_visibility: Literal["Fixed"]
    rebase_frac_zero_constants: bool
    check_mode: Literal["SAFE", "UNSAFE"]
    decomp_base: Annotated[int, Field(ge=2, le=2**MAX_LOGROWS)]
    decomp_legs: Annotated[int, Field(ge=1, le=16)]
    bounded_log_lookup: bool
    ignore_range_check_inputs_outputs: bool
    epsilon: Annotated[float, Field(gt=0, le=1)] | None
    disable_freivalds: bool

    @property
    def limit(self) -> int:
        """What the size of every value of the circuit stays below."""
        return int(self.decomp_base**self.decomp_legs)

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.limit > 2**MAX_BITS:
            raise ValueError(f"decomp_base^decomp_legs is more than 2^{MAX_BITS}")
        low, high = self.lookup_range
        if not low <= high or high - low > MAX_TABLE_COLUMNS << self.logrows:
            raise ValueError("lookup_range does not fit the rows")
        return self


class EinsumParams(Part):
    """The contractions that a circuit may check with Freivalds' argument."""

    equations: Annotated[tuple[Equation, ...], Field(max_length=2**18)]
    total_einsum_col_size: Count


class ModuleSizes(Part):
    """Cells of ezkl's hash and commitment modules: none, since nothing here is hashed."""

    polycommit: tuple[()]
    poseidon: tuple[Literal[0], tuple[Literal[0]]]


class EzklFile(Part):
    """ezkl's settings.json without its timestamp."""

    run_args: RunArgs
    num_rows: Count
    total_assignments: Count
    total_const_size: Count
    total_dynamic_col_size: Count
    max_dynamic_input_len: Count
    num_dynamic_lookups: Count
    num_shuffles: Count
    total_shuffle_col_size: Count
    einsum_params: EinsumParams
    model_instance_shapes: Annotated[tuple[Shape, ...], Field(max_length=4096)]
    model_output_scales: Annotated[tuple[Scale, ...], Field(max_length=4096)]
    model_input_scales: Annotated[tuple[Scale, ...], Field(max_length=4096)]
    module_sizes: ModuleSizes
    required_lookups: Annotated[tuple[Lookup, ...], Field(max_length=256)]
    required_range_checks: Annotated[tuple[Range, ...], Field(max_length=256)]
    check_mode: Literal["SAFE", "UNSAFE"]
    version: Literal["23.0.5"]
    num_blinding_factors: None
    input_types: Annotated[tuple[InputType, ...], Field(max_length=4096)]
    output_types: Annotated[tuple[InputType, ...], Field(max_length=4096)]

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        rows, width = 1 << self.run_args.logrows, self.run_args.num_inner_cols
        # A column holds a few cells less than its rows, which halves it at most; tables and constants likewise.
        for size in (
            self.total_assignments // width,
            self.total_const_size,
            self.total_dynamic_col_size + self.total_shuffle_col_size,
            self.einsum_params.total_einsum_col_size // width,
        ):
            if size * width * 2 > rows * MAX_COLUMNS:
                raise ValueError("the circuit has more columns than any that can be proven")
        if any(high - low < 0 or high - low > MAX_TABLE_COLUMNS * rows for low, high in self.required_range_checks):
            raise ValueError("a range check does not fit the rows")
        return self


class Interface(Part):
    """Which public values mean what: the tensors in the circuit's order, behind the context."""

    format: Literal[1] = 1
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1, max_length=1024)]
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1, max_length=1024)]


class SettingsPart(Part):
    """The `settings` part of a verifying key."""

    balance: Interface
    ezkl: EzklFile

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read the part from its one encoding; raises ConfigError that names what is wrong."""
        value = canonical.decode(data, max_size=MAX_SETTINGS_BYTES, what="the verifying key's settings")
        try:
            part = cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "value"
            raise ConfigError(f"the verifying key's settings: {where}: {first['msg']}") from error
        # Numbers that JSON has no exact form for, keys in another order, or spaces: two texts of one meaning.
        if canonical.encode(value) != data:
            raise ConfigError("the verifying key's settings are not in canonical form")
        return part

    @model_validator(mode="after")
    def _agree(self) -> Self:
        inputs, outputs = (CONTEXT, *self.balance.inputs), self.balance.outputs
        names = [spec.name for spec in inputs], [spec.name for spec in outputs]
        if any(len(set(group)) < len(group) for group in names):
            raise ValueError("two tensors have one name")
        specs = (*inputs, *outputs)
        if sum(map(_size, specs)) > MAX_INSTANCES:
            raise ValueError("the circuit has more public values than can be stated")
        # A number without axes is a tensor of one element to ezkl.
        if self.ezkl.model_instance_shapes != tuple(spec.shape or (1,) for spec in specs):
            raise ValueError("the shapes of public values are not those of the inputs and outputs")
        scales = self.ezkl.model_input_scales, self.ezkl.model_output_scales
        types = self.ezkl.input_types, self.ezkl.output_types
        if [len(group) for group in (*scales, *types)] != [len(inputs), len(outputs)] * 2:
            raise ValueError("inputs and outputs do not each have a scale and a type")
        if scales[0][0] != 0 or types[0][0] != "Int":
            raise ValueError("the context is not a tensor of integers")
        return self

    @property
    def run_args(self) -> RunArgs:
        """Ezkl's arguments."""
        return self.ezkl.run_args

    @property
    def input_scales(self) -> tuple[int, ...]:
        """For each input behind the context: how many bits of its integers stand behind the binary point."""
        return self.ezkl.model_input_scales[1:]

    @property
    def output_scales(self) -> tuple[int, ...]:
        """The same for each output."""
        return self.ezkl.model_output_scales

    @property
    def instances(self) -> int:
        """The number of public values."""
        return sum(map(_size, chain((CONTEXT,), self.balance.inputs, self.balance.outputs)))


def _size(spec: TensorSpec) -> int:
    return prod(spec.shape)


class ReadKey(Part):
    """A verifying key whose parts have been judged, ready for ezkl."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    key: bytes
    settings: SettingsPart
    ezkl_settings: bytes
    """settings.json as ezkl reads it."""
    parameters: Parameters


def settings_document(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], settings: Mapping[str, Any]
) -> bytes:
    """Write the `settings` part, from the model's interface and ezkl's settings.json without its timestamp."""
    interface = Interface(inputs=tuple(inputs), outputs=tuple(outputs))
    return canonical.encode({"balance": interface.model_dump(mode="json"), "ezkl": settings})


def read_key(parts: Mapping[str, bytes]) -> ReadKey:
    """Judge a verifying key; raises InvalidProof with the reason, whatever the bytes."""
    if set(parts) != {"key", "settings", "srs"}:
        raise InvalidProof("the verifying key does not consist of the parts key, settings and srs")
    try:
        settings = SettingsPart.read(parts["settings"])
        parameters = Parameters.of_cut(parts["srs"])
    except ConfigError as error:
        raise InvalidProof(error.message) from error
    key = parts["key"]
    if len(key) > MAX_KEY_BYTES or not key.startswith(_key_header(settings.run_args.logrows)):
        raise InvalidProof("the verifying key is not one of ezkl's for these settings")
    value = canonical.decode(parts["settings"], max_size=MAX_SETTINGS_BYTES)["ezkl"]
    return ReadKey(key=key, settings=settings, ezkl_settings=canonical.encode(value), parameters=parameters)


def _key_header(logrows: int) -> bytes:
    """Return how ezkl's file of a verifying key starts: a version and k."""
    return bytes((_KEY_VERSION, logrows))


_KEY_VERSION = 3
assert EZKL_VERSION == "23.0.5"  # noqa: S101  the header above is of this release
