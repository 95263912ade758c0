"""Weights that lie in files beside the model: read them, from nowhere but the model's own folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from onnx import TensorProto

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import tensors
from balance_core.model.graph import quoted, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import GraphProto, ModelProto, NodeProto


def embed(proto: ModelProto, folder: Path) -> None:
    """Read all external weights into the model.

    Raises ConfigError for a file that is missing, too short, not a plain file or not inside the folder,
    UnsupportedModel where all weights together would take more than 2 GiB.
    """
    found = [tensor for tensor in _all(proto) if tensor.data_location == TensorProto.EXTERNAL]
    total = proto.ByteSize() + sum(max(0, tensors.nbytes(tensor)) for tensor in found)
    if total > tensors.MAX_MODEL_BYTES:
        raise UnsupportedModel(f"the model has {total} bytes with its weights, more than 2 GiB")
    for tensor in found:
        data = _read(tensor, folder.resolve())
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data


def _read(tensor: TensorProto, folder: Path) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    size = tensors.nbytes(tensor)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
        parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
        path = (folder / location).resolve()
        is_plain = location and ".." not in parts and not PureWindowsPath(location).anchor and location[0] != "/"
        if not is_plain or not path.is_relative_to(folder):
            raise ConfigError(
                f"the weights of {quoted(tensor.name)} lie outside the model's folder: {quoted(location)}"
            )
        if min(offset, length) < 0 or length != size:
            raise ConfigError(f"the weights of {quoted(tensor.name)} declare {size} bytes and refer to {length}")
        if not path.is_file():
            raise ConfigError(
                f"the weights of {quoted(tensor.name)} are missing: there is no file {quoted(location)}",
                hint="keep the weight files beside the model",
            )
        with path.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(length)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"the weights of {quoted(tensor.name)} cannot be read from {quoted(location)}") from error
    if len(data) < length:
        raise ConfigError(f"the weights of {quoted(tensor.name)} are cut short: {quoted(location)} has too few bytes")
    return data


def _all(proto: ModelProto) -> Iterator[TensorProto]:
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for graph in subgraphs(node):
            yield from _of_graph(graph)
