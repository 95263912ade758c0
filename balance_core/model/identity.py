"""The identity of a model: a digest of what it computes, and of nothing that merely describes it.

Every value is named by what it is, never by what it is called: an input by its position and type, a constant by its
type, shape and bytes, a node's output by the operator, its attributes with the defaults written out, and the digests
of the values that it reads. The model's digest is that of its outputs. So node and tensor names, the order of nodes
and constants, documentation, metadata, the producer, unused nodes and how weights are encoded leave no trace, while
no operator, edge, attribute or bit of a weight can change without changing the digest.

No arithmetic is done on any number, and nothing is folded or fused: the digest depends on the file and on the
operator definitions of the opset that it names, not on the version of any library.
"""

from __future__ import annotations

import struct
from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx import AttributeProto

from balance_core import canonical
from balance_core.errors import ConfigError
from balance_core.model import functions, tensors
from balance_core.model.graph import (
    DEEPEST_NESTING,
    domain,
    initialiser_names,
    label,
    opsets,
    ordered,
    printable,
    quoted,
    schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

    from onnx import (
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TensorShapeProto,
        TypeProto,
    )

    Scope = MutableMapping[str, bytes]
    """The digest of every value that is visible by name."""

CANONICAL_FORM = 1
"""The version of the form that is digested; it is part of every digest."""

_FIELDS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.FLOATS: "floats",
    AttributeProto.GRAPH: "g",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.INT: "i",
    AttributeProto.INTS: "ints",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.STRING: "s",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSOR: "t",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.TYPE_PROTOS: "type_protos",
}
"""Where an attribute of each type keeps its value."""


def model_id(proto: ModelProto) -> str:
    """Return the digest of the model's structure and weights, as 64 hex digits.

    The weights must be inside `proto`. Raises ConfigError or UnsupportedModel for a graph that has no single meaning:
    cycles, names defined twice or nowhere, malformed constants or attributes, functions that call themselves.
    """
    return _Identity(proto).digest()


def _hash(kind: str, *parts: bytes) -> bytes:
    return bytes.fromhex(canonical.digest(f"model/{CANONICAL_FORM}/{kind}", *parts))


def _items(value: Any) -> Iterable[Any]:
    """Return the values of a list, or the one value of anything else."""
    return value if isinstance(value, Sequence) and not isinstance(value, bytes) else (value,)


def _int(number: int) -> bytes:
    return str(number).encode()


class _Identity:
    """One walk over a model; `functions` and `dimensions` are shared by all of its graphs."""

    def __init__(self, proto: ModelProto) -> None:
        self.proto = proto
        self.dimensions: dict[str, int] = {}
        self.functions: dict[functions.Key, bytes] = {}

    def digest(self) -> str:
        for key, function in functions.callees_first(self.proto).items():
            self.functions[key] = self._function(function)
        # Symbols of the interface are numbered as they appear there; others have no meaning of their own.
        for value in (*self.proto.graph.input, *self.proto.graph.output):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param:
                    self.dimensions.setdefault(dimension.dim_param, len(self.dimensions))
        return self._graph(self.proto.graph, ChainMap(), opsets(self.proto.opset_import), depth=0).hex()

    def _graph(
        self, graph: GraphProto, outer: ChainMap[str, bytes], versions: Mapping[str, int], depth: int
    ) -> bytes:
        """Digest a graph; `depth` keeps the inputs of a body apart from those of the graphs around it."""
        if depth > DEEPEST_NESTING:
            raise ConfigError(f"the model nests more than {DEEPEST_NESTING} graphs")
        scope = outer.new_child()
        constants = initialiser_names(graph)
        inputs = [value for value in graph.input if value.name not in constants]
        types = [self._type(value.type) for value in inputs]
        for position, (value, kind) in enumerate(zip(inputs, types, strict=True)):
            _define(scope, value.name, _hash("input", _int(depth), _int(position), kind))
        for tensor in graph.initializer:
            _define(scope, tensor.name, self._tensor(tensor))
        for sparse in graph.sparse_initializer:
            _define(scope, sparse.values.name, self._sparse(sparse))
        self._nodes(graph.node, scope, versions, depth)
        outputs = []
        for value in graph.output:
            if value.name not in scope:
                raise ConfigError(f"nothing computes the output {quoted(value.name)}")
            outputs.append(_hash("output", scope[value.name], self._type(value.type)))
        return _hash("graph", _int(len(types)), *types, *outputs)

    def _nodes(
        self, nodes: Iterable[NodeProto], scope: ChainMap[str, bytes], versions: Mapping[str, int], depth: int
    ) -> None:
        for node in ordered(list(nodes), scope):
            tensor = tensors.of_constant(node)
            if tensor is not None:
                scope[node.output[0]] = self._tensor(tensor)
                continue
            digest = self._node(node, scope, versions, depth)
            for position, name in enumerate(node.output):
                if name:
                    scope[name] = _hash("result", _int(position), digest)

    def _node(self, node: NodeProto, scope: ChainMap[str, bytes], versions: Mapping[str, int], depth: int) -> bytes:
        called = self.functions.get(functions.key(node))
        if called is not None:
            what = _hash("call", called)
        else:
            version = versions.get(domain(node.domain), 0)
            names = domain(node.domain), node.op_type, node.overload
            what = _hash("operator", *(name.encode() for name in names), _int(version))
        inputs = [scope[name] if name else b"" for name in node.input]
        while inputs and not inputs[-1]:
            inputs.pop()
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if len(attributes) < len(node.attribute):
            raise ConfigError(f"node {label(node)!r} has an attribute twice")
        definition = None if called is not None else schema(node, versions)
        for name, declared in definition.attributes.items() if definition else ():
            if name not in attributes and declared.default_value.type:
                attributes[name] = declared.default_value
        values = [
            _hash("attribute", name.encode(), self._attribute(attribute, scope, versions, depth, label(node)))
            for name, attribute in sorted(attributes.items())
        ]
        # Which outputs exist is part of the meaning: Split divides its input by how many there are.
        present = "".join("1" if name else "0" for name in node.output)
        return _hash("node", what, present.encode(), _int(len(inputs)), *inputs, *values)

    def _attribute(
        self,
        attribute: AttributeProto,
        scope: ChainMap[str, bytes],
        versions: Mapping[str, int],
        depth: int,
        node: str,
    ) -> bytes:
        field = _FIELDS.get(attribute.type)
        present = {descriptor.name for descriptor, _ in attribute.ListFields()}
        stray = present - {"name", "doc_string", "type", "ref_attr_name", field}
        if field is None or stray or (attribute.ref_attr_name and field in present):
            raise ConfigError(f"attribute {quoted(attribute.name)} of node {node!r} does not hold what its type says")
        kind = _int(attribute.type)
        if attribute.ref_attr_name:
            return _hash("reference", kind, attribute.ref_attr_name.encode())
        value = getattr(attribute, field)
        parts: Iterable[bytes]
        match field:
            case "f" | "floats":
                parts = (struct.pack("<f", item) for item in _items(value))
            case "i" | "ints":
                parts = map(_int, _items(value))
            case "s" | "strings":
                parts = _items(value)
            case "t" | "tensors":
                parts = map(self._tensor, _items(value))
            case "sparse_tensor" | "sparse_tensors":
                parts = map(self._sparse, _items(value))
            case "tp" | "type_protos":
                parts = map(self._type, _items(value))
            case _:
                parts = (self._graph(item, scope, versions, depth + 1) for item in _items(value))
        return _hash("value", kind, *parts)

    def _function(self, function: FunctionProto) -> bytes:
        versions = opsets(function.opset_import)
        scope: ChainMap[str, bytes] = ChainMap()
        for position, name in enumerate(function.input):
            _define(scope, name, _hash("parameter", _int(position)))
        self._nodes(function.node, scope, versions, 0)
        missing = next((name for name in function.output if name not in scope), None)
        if missing is not None:
            raise ConfigError(f"nothing computes the output {quoted(missing)} of function {quoted(function.name)}")
        defaults = [
            _hash(
                "default",
                attribute.name.encode(),
                self._attribute(attribute, scope, versions, 0, printable(function.name)),
            )
            for attribute in sorted(function.attribute_proto, key=lambda attribute: attribute.name)
        ]
        outputs = [scope[name] for name in function.output]
        names = [_hash("named", name.encode()) for name in sorted(function.attribute)]
        counts = _int(len(function.input)), _int(len(outputs)), _int(len(names))
        return _hash("function", *counts, *outputs, *names, *defaults)

    def _type(self, kind: TypeProto) -> bytes:
        which = kind.WhichOneof("value")
        match which:
            case "tensor_type" | "sparse_tensor_type":
                tensor = getattr(kind, which)
                shape = b"unranked"
                if tensor.HasField("shape"):
                    shape = _hash("shape", *map(self._dimension, tensor.shape.dim))
                return _hash(which, _int(tensor.elem_type), shape)
            case "sequence_type" | "optional_type":
                return _hash(which, self._type(getattr(kind, which).elem_type))
            case "map_type":
                return _hash(which, _int(kind.map_type.key_type), self._type(kind.map_type.value_type))
            case "opaque_type":
                return _hash(which, kind.opaque_type.domain.encode(), kind.opaque_type.name.encode())
        return _hash("untyped")

    def _dimension(self, dimension: TensorShapeProto.Dimension) -> bytes:
        """Digest a dimension: its size, or which of the interface's symbols it is, or nothing."""
        if dimension.HasField("dim_value"):
            return _hash("size", _int(dimension.dim_value))
        if dimension.dim_param in self.dimensions:
            return _hash("symbol", _int(self.dimensions[dimension.dim_param]))
        return _hash("unknown")

    @staticmethod
    def _tensor(tensor: TensorProto) -> bytes:
        tensors.check(tensor)
        kind, shape = _int(tensor.data_type), canonical.encode(list(tensor.dims))
        if tensor.string_data:
            return _hash("strings", kind, shape, *tensor.string_data)
        return _hash("tensor", kind, shape, tensors.raw(tensor))

    def _sparse(self, tensor: SparseTensorProto) -> bytes:
        shape = canonical.encode(list(tensor.dims))
        return _hash("sparse", shape, self._tensor(tensor.values), self._tensor(tensor.indices))


def _define(scope: Scope, name: str, digest: bytes) -> None:
    if name in scope:
        raise ConfigError(f"the value {quoted(name)} is defined twice")
    scope[name] = digest
