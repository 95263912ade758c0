"""The messages of the Open Inference Protocol, version 2, as provider and client exchange them.

Tensors travel as JSON numbers, or, by the binary tensor extension, as little-endian bytes behind the JSON; the
header `Inference-Header-Content-Length` then says where the JSON ends. What Balance adds stands in `parameters`.
The protocol is specified by the Open Inference Protocol working group; its extension by the Triton Inference Server.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from balance_core.errors import ConfigError
from balance_core.records import Context, Digest, Label, TensorSpec
from balance_core.service.receipts import ProofMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header that says how many bytes of a body are JSON; the rest is binary tensors."""
MAX_TENSORS = 256
MAX_RANK = 16

Visibility = Literal["public", "private"]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"
]
DATATYPES: dict[str, Datatype] = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
}
"""The protocol's name for each of numpy's element types."""
_NUMPY = {datatype: np.dtype(name).newbyteorder("<") for name, datatype in DATATYPES.items()}

Parameter = str | bool | int | float
"""The value of a parameter; arrays and objects are none."""
Parameters = Annotated[dict[str, Parameter], BeforeValidator(lambda value: {} if value is None else value)]
"""Named values; some clients write null where they have none."""


class Message(BaseModel):
    """A message of the protocol; fields that it does not know are refused, so that no typing error goes unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class InputTensor(Message):
    """One tensor of a request; with `binary_data_size` among its parameters its bytes stand behind the JSON."""

    name: Label
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=MAX_RANK)]
    datatype: Datatype
    parameters: Parameters = {}
    data: list[Any] | None = None
    """Numbers in row-major order, flat or nested as the shape is."""


class RequestedOutput(Message):
    """An output that is asked for; `binary_data` among its parameters says in which form."""

    name: Label
    parameters: Parameters = {}


class InferRequest(Message):
    """One question to a model."""

    id: Annotated[str, Field(max_length=256)] | None = None
    model_name: Annotated[str, Field(max_length=64)] | None = None
    """Some clients repeat the model's name here; the address counts."""
    parameters: Parameters = {}
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=MAX_TENSORS)] | None = None


class OutputTensor(Message):
    """One tensor of an answer."""

    name: Label
    shape: list[int]
    datatype: Datatype
    parameters: Parameters = {}
    data: list[Any] | None = None


class InferResponse(Message):
    """The answer to a request."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[OutputTensor]


class TensorMetadata(Message):
    """Name, element type and shape of a model's input or output."""

    name: Label
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Message):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: Parameters = {}


class ServerMetadata(Message):
    """What a server is."""

    name: str
    version: str
    extensions: list[str]


class Problem(Message):
    """Why a request was refused; every refusal of a provider has this form."""

    error: str
    hint: str | None = None
    type: str
    """The name of the error in `balance_core.errors`, or what HTTP calls it."""


class Asked(Message):
    """What Balance adds to a request, as parameters named `balance_...`."""

    proof: ProofMode | None = None
    """Whether the answer is to be proven; by default as the provider's settings say."""
    nonce: Context | None = None
    """32 bytes as hex that the client chose; without them nothing tells a fresh receipt from an old one."""
    visibility: Visibility | None = None
    """Whether a proof may show the input, or must hide it; by default as the registration has it."""
    registration: Digest | None = None
    """The registration that the client relies on; under any other the request is refused."""
    blind: Context | None = Field(None, repr=False)
    """32 secret bytes as hex that hide the input in its proof, so that the client, who drew them, can open it."""


class Given(Message):
    """What Balance adds to an answer, as parameters named `balance_...`."""

    receipt: str
    """The signed receipt, as canonical JSON."""
    registration: Digest
    job: Digest | None = None
    """The job that will prove the answer."""


PREFIX = "balance_"

M = TypeVar("M", bound=Message)


def asked(parameters: Mapping[str, Parameter]) -> Asked:
    """Read Balance's parameters of a request; raises ConfigError for one that is unknown or wrong."""
    values = {name.removeprefix(PREFIX): value for name, value in parameters.items() if name.startswith(PREFIX)}
    return _parsed(Asked, values)


def given(parameters: Mapping[str, Parameter]) -> Given:
    """Read Balance's parameters of an answer; raises ConfigError where they are missing or wrong."""
    values = {name.removeprefix(PREFIX): value for name, value in parameters.items() if name.startswith(PREFIX)}
    return _parsed(Given, values)


def as_parameters(message: Asked | Given) -> dict[str, Parameter]:
    """Return what Balance adds as parameters."""
    return {PREFIX + name: value for name, value in message.model_dump(exclude_none=True).items()}


def _parsed(kind: type[M], values: Mapping[str, Parameter]) -> M:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        hint = "the provider's /openapi.json has examples"
        raise ConfigError(f"parameters.{PREFIX}{_first(error)}", hint=hint) from None


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong with a message, and nothing of its content."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def datatype_of(spec: TensorSpec) -> Datatype:
    """Return the protocol's name for a tensor's element type."""
    return DATATYPES[spec.dtype]


def metadata_of(specs: Sequence[TensorSpec]) -> list[TensorMetadata]:
    """Return inputs or outputs as the protocol describes them."""
    return [TensorMetadata(name=spec.name, datatype=datatype_of(spec), shape=list(spec.shape)) for spec in specs]


def split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """Divide a body into its JSON and its binary part; raises ConfigError for a length that it does not have."""
    if header_length is None:
        return body, memoryview(b"")
    if not header_length.isascii() or not header_length.isdigit() or len(header_length) > 12:
        raise ConfigError(f"{HEADER_LENGTH} is not a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise ConfigError(f"{HEADER_LENGTH} says {length} bytes, and the body has {len(body)}")
    return body[:length], memoryview(body)[length:]


def read_request(
    body: bytes, header_length: str | None, inputs: Sequence[TensorSpec]
) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """Read a request and its tensors, which must be exactly the model's inputs; raises ConfigError."""
    text, binary = split(body, header_length)
    request = read(InferRequest, text)
    tensors = {tensor.name: tensor for tensor in request.inputs}
    if len(tensors) != len(request.inputs):
        raise ConfigError("an input is given twice")
    known = {spec.name: spec for spec in inputs}
    if tensors.keys() != known.keys():
        wrong = min(tensors.keys() ^ known.keys())
        problem = "the model has no input" if wrong in tensors else "the request lacks the input"
        raise ConfigError(f"{problem} {wrong!r}", hint=f"its inputs are {', '.join(known)}")
    for name, tensor in tensors.items():
        spec = known[name]
        if tensor.datatype != datatype_of(spec) or tuple(tensor.shape) != spec.shape:
            raise ConfigError(
                f"input {name!r} is {tensor.datatype}{tensor.shape}",
                hint=f"the model takes {datatype_of(spec)}{list(spec.shape)}",
            )
    return request, _arrays(request.inputs, binary)


def read_response(body: bytes, header_length: str | None) -> tuple[InferResponse, dict[str, np.ndarray]]:
    """Read an answer and its tensors; raises ConfigError for what is none."""
    text, binary = split(body, header_length)
    response = read(InferResponse, text)
    return response, _arrays(response.outputs, binary)


def read(kind: type[M], text: bytes) -> M:
    """Read one message from JSON; raises ConfigError that names the first wrong field."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(
            f"the message is not of the protocol: {_first(error)}", hint="the provider's /openapi.json has examples"
        ) from None


def _arrays(tensors: Iterable[InputTensor | OutputTensor], binary: memoryview) -> dict[str, np.ndarray]:
    """Return the tensors' numbers; the binary part must be used up exactly."""
    arrays, at = {}, 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size")
        if any(name.startswith("shared_memory") for name in tensor.parameters):
            raise ConfigError(f"{tensor.name!r} names shared memory, which is not served", hint="send the numbers")
        if (size is None) == (tensor.data is None):
            raise ConfigError(f"{tensor.name!r} needs either data or binary_data_size")
        if size is None:
            arrays[tensor.name] = _from_numbers(tensor)
            continue
        dtype = _NUMPY[tensor.datatype]
        expected = prod(tensor.shape) * dtype.itemsize
        if type(size) is not int or size != expected or at + size > len(binary):
            raise ConfigError(
                f"{tensor.name!r} of {tensor.datatype}{list(tensor.shape)} takes {expected} bytes, "
                f"and {size} are announced of the {len(binary) - at} that are left"
            )
        arrays[tensor.name] = _from_bytes(binary[at : at + size], tensor)
        at += size
    if at != len(binary):
        raise ConfigError(f"{len(binary) - at} bytes behind the tensors belong to none")
    return arrays


def _from_bytes(data: memoryview, tensor: InputTensor | OutputTensor) -> np.ndarray:
    dtype = _NUMPY[tensor.datatype]
    if tensor.datatype == "BOOL" and bytes(data).strip(b"\x00\x01"):
        raise ConfigError(f"{tensor.name!r} holds bytes that are neither true nor false")
    array: np.ndarray = np.frombuffer(data, dtype=dtype).reshape(tensor.shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _from_numbers(tensor: InputTensor | OutputTensor) -> np.ndarray:
    """Return JSON numbers as an array of the announced type and shape; no number may change on the way to it."""
    dtype = _NUMPY[tensor.datatype].newbyteorder("=")
    if not _types(tensor.data) <= ({int, float} if dtype.kind == "f" else {int, bool}):
        raise ConfigError(f"{tensor.name!r} holds something else than numbers of {tensor.datatype}")
    try:
        found = np.array(tensor.data)
        if dtype.kind != "f" and found.dtype.kind not in "biu":  # numpy takes floats for integers of 64 bits
            found = np.array(tensor.data, dtype=object)
    except (ValueError, OverflowError, RecursionError):
        raise ConfigError(f"{tensor.name!r} has rows of different lengths or depths") from None
    if found.size != prod(tensor.shape) or (found.ndim > 1 and found.shape != tuple(tensor.shape)):
        raise ConfigError(f"{tensor.name!r} has the shape {list(found.shape)}, not {list(tensor.shape)}")
    found = found.reshape(tensor.shape)
    if not found.size or _holds(dtype, found):
        return found.astype(dtype)
    raise ConfigError(f"{tensor.name!r} holds a number that {tensor.datatype} does not")


def _holds(dtype: np.dtype, found: np.ndarray) -> bool:
    """Whether a type holds all the numbers; to a floating-point one they are rounded."""
    if dtype.kind == "f":
        return found.dtype.kind != "O" and bool((np.abs(found) <= np.finfo(dtype).max).all())
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return bool(low <= int(found.min()) and int(found.max()) <= high)


def _types(data: Any) -> set[type]:
    """Return the types in nested lists; a long text among the numbers would make numpy take room for many."""
    types = set(map(type, data))
    if types == {list}:
        return set().union(*map(_types, data))
    return types


@dataclass(frozen=True)
class Body:
    """A message as it travels: its bytes, and how many of them are JSON where binary tensors follow."""

    content: bytes
    header_length: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that go with it."""
        if self.header_length is None:
            return {"Content-Type": "application/json"}
        return {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(self.header_length)}


def write_request(inputs: Mapping[str, np.ndarray], asked_for: Asked, *, binary: bool = True) -> Body:
    """Return a request with these inputs; `binary` sends their bytes, and asks for bytes in return."""
    tensors, parts = [], []
    for name, array in inputs.items():
        if array.dtype.name not in DATATYPES:
            raise ConfigError(f"input {name!r} holds {array.dtype}, which the protocol has no numbers for")
        tensor, data = _tensor(InputTensor, name, array, binary=binary)
        tensors.append(tensor)
        parts.append(data)
    parameters = as_parameters(asked_for) | ({"binary_data_output": True} if binary else {})
    return _body(InferRequest(parameters=parameters, inputs=tensors), parts)


def wanted(request: InferRequest, order: Sequence[str]) -> dict[str, bool]:
    """Return which outputs a request asks for, by default all, and whether as bytes; raises ConfigError."""
    default = request.parameters.get("binary_data_output", False) is True
    found = {}
    for output in request.outputs or ():
        if output.name not in order:
            raise ConfigError(f"the model has no output {output.name!r}", hint=f"its outputs are {', '.join(order)}")
        unserved = output.parameters.keys() - {"binary_data"}
        if unserved:
            raise ConfigError(
                f"output {output.name!r}: {min(unserved)} is not served", hint="ask for the tensor itself"
            )
        found[output.name] = output.parameters.get("binary_data", default) is True
    return found or dict.fromkeys(order, default)


def write_response(response: InferResponse, arrays: Mapping[str, np.ndarray], outputs: Mapping[str, bool]) -> Body:
    """Return an answer with the outputs that are `wanted`; `response` holds everything else."""
    tensors, parts = [], []
    for name, binary in outputs.items():
        tensor, data = _tensor(OutputTensor, name, arrays[name], binary=binary)
        tensors.append(tensor)
        parts.append(data)
    return _body(response.model_copy(update={"outputs": tensors}), parts)


def _tensor(kind: type[Any], name: str, array: np.ndarray, *, binary: bool) -> tuple[Any, bytes]:
    datatype = DATATYPES[array.dtype.name]
    shape = list(array.shape)
    if binary:
        data = array.astype(_NUMPY[datatype], order="C", copy=False).tobytes()
        return kind(name=name, shape=shape, datatype=datatype, parameters={"binary_data_size": len(data)}), data
    return kind(name=name, shape=shape, datatype=datatype, data=array.reshape(-1).tolist()), b""


def _body(message: Message, parts: Sequence[bytes]) -> Body:
    text = message.model_dump_json(exclude_none=True).encode()
    binary = b"".join(parts)
    return Body(text + binary, len(text)) if binary else Body(text)
