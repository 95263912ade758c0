"""ONNX tensors as exact bytes: one form for a constant, whichever of the format's many encodings was used."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, helper, numpy_helper

from balance_core.errors import ConfigError, UnsupportedModel

if TYPE_CHECKING:
    from onnx import NodeProto, SparseTensorProto

MAX_MODEL_BYTES = 2 * 2**30
"""Largest model, weights and graph together: the limit of the format's own encoding."""
MAX_DENSE_ELEMENTS = 2**24
"""Largest dense form of a sparse constant, in elements."""

_SIZES = {
    element: 0 if name == "STRING" else helper.tensor_dtype_to_np_dtype(element).itemsize
    for name, element in TensorProto.DataType.items()
    if name != "UNDEFINED"
    and "INT4" not in name
    and "INT2" not in name
    and "FLOAT4" not in name
    and "FLOAT6" not in name
}
"""Bytes of one element, for the types whose elements are whole bytes."""
_PAYLOADS = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")


def type_name(element: int) -> str:
    """Return the format's name for an element type: `FLOAT`, `INT64`."""
    return TensorProto.DataType.Name(element) if element in TensorProto.DataType.values() else f"type {element}"


def check(tensor: TensorProto) -> None:
    """Raise ConfigError unless the tensor holds exactly the data that its type and shape declare."""
    name = tensor.name or "unnamed constant"
    used = [field for field in _PAYLOADS if len(getattr(tensor, field))]
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ConfigError(
            f"the weights of {name!r} lie in another file",
            hint="load the model from its path, with the weight files in the same folder",
        )
    if tensor.HasField("segment") or any(size < 0 for size in tensor.dims) or len(used) > 1:
        raise ConfigError(f"the constant {name!r} is malformed")
    element = tensor.data_type
    if element not in _SIZES:
        raise UnsupportedModel(
            f"the constant {name!r} has elements of {type_name(element)}, which are not supported",
            hint="export the model with float32 or int8 weights",
        )
    field = helper.tensor_dtype_to_field(element)
    if used == ["raw_data"]:
        expected, actual = prod(tensor.dims) * _SIZES[element], len(tensor.raw_data)
    else:
        expected = prod(tensor.dims) * (2 if element in {TensorProto.COMPLEX64, TensorProto.COMPLEX128} else 1)
        actual = len(getattr(tensor, field))
    if expected != actual or used not in ([], ["raw_data"], [field]):
        raise ConfigError(f"the constant {name!r} declares shape {tuple(tensor.dims)} and holds other data than that")


def nbytes(tensor: TensorProto) -> int:
    """Return the size of the tensor's elements in bytes, by its declared type and shape; strings count as none."""
    return int(prod(tensor.dims)) * _SIZES.get(tensor.data_type, 0)


def raw(tensor: TensorProto) -> bytes:
    """Return the elements of a checked tensor as little-endian bytes in row-major order, strings excepted."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    values = numpy_helper.to_array(tensor)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def array(tensor: TensorProto) -> np.ndarray:
    """Return the elements as an array that may share memory with the tensor: do not write to it."""
    return numpy_helper.to_array(tensor)


def type_of(tensor: TensorProto) -> TypeProto:
    """Return the tensor's type with its shape."""
    return helper.make_tensor_type_proto(tensor.data_type, tuple(tensor.dims))


def of_array(values: np.ndarray, name: str = "") -> TensorProto:
    """Return a tensor with the array's elements in raw form."""
    return numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)


def of_constant(node: NodeProto) -> TensorProto | None:
    """Return what a Constant node holds, None for any other node and for a function's attribute."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"} or len(node.attribute) != 1:
        return None
    attribute: AttributeProto = node.attribute[0]
    found: TensorProto | None = None
    match attribute.name, attribute.type:
        case "value", AttributeProto.TENSOR:
            found = attribute.t
        case "sparse_value", AttributeProto.SPARSE_TENSOR:
            found = dense(attribute.sparse_tensor)
        case "value_float", AttributeProto.FLOAT:
            found = of_array(np.array(attribute.f, dtype=np.float32))
        case "value_floats", AttributeProto.FLOATS:
            found = of_array(np.array(attribute.floats, dtype=np.float32))
        case "value_int", AttributeProto.INT:
            found = of_array(np.array(attribute.i, dtype=np.int64))
        case "value_ints", AttributeProto.INTS:
            found = of_array(np.array(attribute.ints, dtype=np.int64))
        case "value_string", AttributeProto.STRING:
            found = TensorProto(data_type=TensorProto.STRING, string_data=[attribute.s])
        case "value_strings", AttributeProto.STRINGS:
            strings = attribute.strings
            found = TensorProto(data_type=TensorProto.STRING, dims=[len(strings)], string_data=strings)
    return found


def dense(sparse: SparseTensorProto) -> TensorProto:
    """Return the dense form of a sparse constant (COO: one index per value, linear or one row per dimension)."""
    name = sparse.values.name or "unnamed constant"
    check(sparse.values)
    check(sparse.indices)
    shape = tuple(sparse.dims)
    if any(size < 0 for size in shape) or prod(shape) > MAX_DENSE_ELEMENTS:
        raise ConfigError(f"the sparse constant {name!r} of shape {shape} is too large to be written out")
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    if indices.ndim == 2:
        limits = np.array(shape)
        if indices.shape != (len(values), len(shape)) or (indices < 0).any() or (indices >= limits).any():
            raise ConfigError(f"the sparse constant {name!r} has indices outside its shape")
        indices = np.ravel_multi_index(tuple(indices.T), shape)
    if indices.shape != values.shape or values.ndim != 1 or (indices < 0).any() or (indices >= prod(shape)).any():
        raise ConfigError(f"the sparse constant {name!r} has indices outside its shape")
    result = np.zeros(prod(shape), dtype=values.dtype)
    result[indices] = values
    return numpy_helper.from_array(result.reshape(shape), sparse.values.name)
