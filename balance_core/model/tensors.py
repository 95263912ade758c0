"""ONNX tensors as exact bytes: one form for a constant, whichever of the format's many encodings was used."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, helper, numpy_helper

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model.graph import domain, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import NodeProto, SparseTensorProto

MAX_MODEL_BYTES = 2 * 2**30
"""Largest model, weights and graph together: the limit of the format's own encoding."""
MAX_DENSE_ELEMENTS = 2**24
"""Largest dense form of a sparse constant, in elements."""

_PACKED = ("INT2", "INT4", "FLOAT4E2M1", "FLOAT6E2M3", "FLOAT6E3M2")
_SIZES: dict[int, int] = {
    element: 0 if name == "STRING" else int(helper.tensor_dtype_to_np_dtype(element).itemsize)
    for name, element in TensorProto.DataType.items()
    if not name.endswith(("UNDEFINED", *_PACKED))
}
"""Bytes of one element, for the types whose elements are whole bytes."""
_PAYLOADS = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")


def type_name(element: int) -> str:
    """Return the format's name for an element type: `FLOAT`, `INT64`."""
    return TensorProto.DataType.Name(element) if element in TensorProto.DataType.values() else f"type {element}"


def check(tensor: TensorProto) -> None:
    """Raise ConfigError unless the tensor holds exactly the data that its type and shape declare."""
    name = quoted(tensor.name or "unnamed constant")
    used = [field for field in _PAYLOADS if len(getattr(tensor, field))]
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ConfigError(
            f"the weights of {name} lie in another file",
            hint="load the model from its path, with the weight files in the same folder",
        )
    if tensor.HasField("segment") or any(size < 0 for size in tensor.dims) or len(used) > 1:
        raise ConfigError(f"the constant {name} is malformed")
    element = tensor.data_type
    if element not in _SIZES:
        raise UnsupportedModel(
            f"the constant {name} has elements of {type_name(element)}, which are not supported",
            hint="export the model with float32 or int8 weights",
        )
    field = helper.tensor_dtype_to_field(element)
    if used == ["raw_data"]:
        expected, actual = prod(tensor.dims) * _SIZES[element], len(tensor.raw_data)
    else:
        expected = prod(tensor.dims) * (2 if element in {TensorProto.COMPLEX64, TensorProto.COMPLEX128} else 1)
        actual = len(getattr(tensor, field))
    if expected != actual or used not in ([], ["raw_data"], [field]):
        raise ConfigError(f"the constant {name} declares shape {tuple(tensor.dims)} and holds other data than that")


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
    """Return what a Constant node holds; None for any other node, and for one that a function's caller fills."""
    if node.op_type != "Constant" or domain(node.domain) or (len(node.attribute), len(node.output)) != (1, 1):
        return None
    attribute: AttributeProto = node.attribute[0]
    if attribute.ref_attr_name:
        return None
    make = _CONSTANTS.get((attribute.name, attribute.type))
    return make(attribute) if make else None


def _of_strings(values: Sequence[bytes], shape: list[int]) -> TensorProto:
    return TensorProto(data_type=TensorProto.STRING, dims=shape, string_data=values)


def dense(sparse: SparseTensorProto) -> TensorProto:
    """Return the dense form of a sparse constant (COO: one index per value, linear or one row per dimension)."""
    name = quoted(sparse.values.name or "unnamed constant")
    check(sparse.values)
    check(sparse.indices)
    shape = tuple(sparse.dims)
    if any(size < 0 for size in shape) or prod(shape) > MAX_DENSE_ELEMENTS:
        raise ConfigError(f"the sparse constant {name} of shape {shape} is too large to be written out")
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    if indices.ndim == 2:
        limits = np.array(shape)
        if indices.shape != (len(values), len(shape)) or (indices < 0).any() or (indices >= limits).any():
            raise ConfigError(f"the sparse constant {name} has indices outside its shape")
        indices = np.ravel_multi_index(tuple(indices.T), shape)
    if indices.shape != values.shape or values.ndim != 1 or (indices < 0).any() or (indices >= prod(shape)).any():
        raise ConfigError(f"the sparse constant {name} has indices outside its shape")
    result = np.zeros(prod(shape), dtype=values.dtype)
    result[indices] = values
    return numpy_helper.from_array(result.reshape(shape), sparse.values.name)


_CONSTANTS: dict[tuple[str, int], Callable[[AttributeProto], TensorProto]] = {
    ("value", AttributeProto.TENSOR): lambda given: given.t,
    ("sparse_value", AttributeProto.SPARSE_TENSOR): lambda given: dense(given.sparse_tensor),
    ("value_float", AttributeProto.FLOAT): lambda given: of_array(np.array(given.f, dtype=np.float32)),
    ("value_floats", AttributeProto.FLOATS): lambda given: of_array(np.array(given.floats, dtype=np.float32)),
    ("value_int", AttributeProto.INT): lambda given: of_array(np.array(given.i, dtype=np.int64)),
    ("value_ints", AttributeProto.INTS): lambda given: of_array(np.array(given.ints, dtype=np.int64)),
    ("value_string", AttributeProto.STRING): lambda given: _of_strings([given.s], []),
    ("value_strings", AttributeProto.STRINGS): lambda given: _of_strings(given.strings, [len(given.strings)]),
}
"""How a Constant node may hold its value, by the name and type of its attribute."""
