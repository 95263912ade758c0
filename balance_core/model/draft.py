"""A model while it is rewritten: the parts of a graph that compute, without all that merely describes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto, helper

from balance_core.errors import ConfigError
from balance_core.model import ml, tensors
from balance_core.model.graph import domain, live, opsets, ordered, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

LABELS_KEY = "balance.labels."
"""Metadata key, before an output's name, under which the names of its integer classes stand as a JSON list."""


@dataclass
class Draft:
    """The live parts of one graph, copied. Passes edit it in place; `proto()` writes it in one canonical form.

    Documentation, metadata, training information and the types noted for inner values are not taken over: the last
    may lie, and are derived again into `types`.
    """

    inputs: dict[str, TypeProto]
    outputs: list[str]
    nodes: list[NodeProto]
    constants: dict[str, TensorProto]
    versions: dict[str, int]
    types: dict[str, TypeProto] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, proto: ModelProto) -> Self:
        """Take a model apart; functions must have been inlined. Raises ConfigError for broken wiring."""
        graph = proto.graph
        draft = cls(
            inputs={},
            outputs=[value.name for value in graph.output],
            nodes=[],
            constants={},
            versions=opsets(proto.opset_import),
            metadata={entry.key: entry.value for entry in proto.metadata_props if entry.key.startswith(LABELS_KEY)},
        )
        constants = [(tensor.name, tensor) for tensor in graph.initializer]
        constants += [(sparse.values.name, tensors.dense(sparse)) for sparse in graph.sparse_initializer]
        for node in graph.node:
            tensor = tensors.of_constant(node)
            if tensor is None:
                draft.nodes.append(NodeProto.FromString(node.SerializeToString()))
            else:
                constants.append((node.output[0], tensor))
        for name, tensor in constants:
            if name in draft.constants:
                raise ConfigError(f"the value {quoted(name)} is defined twice")
            tensors.check(tensor)
            draft.constants[name] = tensor
        for value in graph.input:
            if value.name not in draft.constants:  # an input with an initialiser is a constant
                draft.inputs[value.name] = TypeProto.FromString(value.type.SerializeToString())
        if len(set(draft.outputs)) < len(draft.outputs):
            raise ConfigError("the model names one value as two of its outputs")
        draft.clean()
        return draft

    def clean(self) -> None:
        """Sort the nodes and drop those, and the constants, that no output depends on."""
        known = self.inputs.keys() | self.constants.keys()
        self.nodes, used = live(ordered(self.nodes, known), self.outputs)
        missing = used - known - {name for node in self.nodes for name in node.output}
        if missing:
            raise ConfigError(f"nothing computes the output {quoted(min(missing))}")
        self.constants = {name: tensor for name, tensor in sorted(self.constants.items()) if name in used}
        for node in self.nodes:
            while node.input and not node.input[-1]:
                node.input.pop()

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a constant as an array, None for any other value."""
        tensor = self.constants.get(name)
        return None if tensor is None else tensors.array(tensor)

    def define(self, name: str, values: np.ndarray) -> str:
        """Add a constant, and return its name."""
        tensor = self.constants[name] = tensors.of_array(values, name)
        self.types[name] = tensors.type_of(tensor)
        return name

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the fixed shape of a value, None where it is not known."""
        return ml.shape(self.types.get(name))

    def readers(self) -> dict[str, list[NodeProto]]:
        """Return the nodes that read each value, without those inside subgraphs."""
        result: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                result.setdefault(name, []).append(node)
        return result

    def fresh(self, stem: str) -> str:
        """Return a value name that was never in use."""
        if not self._taken:
            names = self.inputs.keys() | self.constants.keys() | {name for node in self.nodes for name in node.output}
            self._taken.update(dict.fromkeys(names, 0))
        name = stem
        while name in self._taken:
            self._taken[stem] = self._taken.get(stem, 0) + 1
            name = f"{stem}_{self._taken[stem]}"
        self._taken[name] = 0
        return name

    def proto(self) -> ModelProto:
        """Write the model: nodes in order, each with a name of its own, constants sorted, known types noted."""
        self.clean()
        used = {"", *(domain(node.domain) for node in self.nodes)}
        imports = [
            OperatorSetIdProto(domain=name, version=version)
            for name, version in sorted(self.versions.items())
            if name in used
        ]
        proto = ModelProto(ir_version=max(8, helper.find_min_ir_version_for(imports, ignore_unknown=True)))
        proto.opset_import.extend(imports)
        for key, value in sorted(self.metadata.items()):
            proto.metadata_props.add(key=key, value=value)
        graph = proto.graph
        graph.name = "model"
        graph.input.extend(ValueInfoProto(name=name, type=kind) for name, kind in self.inputs.items())
        graph.output.extend(ValueInfoProto(name=name, type=self.types.get(name)) for name in self.outputs)
        for name, tensor in self.constants.items():
            graph.initializer.add(
                name=name,
                data_type=tensor.data_type,
                dims=tensor.dims,
                raw_data=None if tensor.data_type == TensorProto.STRING else tensors.raw(tensor),
                string_data=tensor.string_data,
            )
        for node, name in zip(self.nodes, _names(self.nodes), strict=True):
            graph.node.add(
                op_type=node.op_type,
                domain=domain(node.domain),
                overload=node.overload,
                name=name,
                input=node.input,
                output=node.output,
                attribute=sorted(node.attribute, key=lambda attribute: attribute.name),
            )
            graph.value_info.extend(
                ValueInfoProto(name=value, type=self.types[value])
                for value in node.output
                if value in self.types and value not in self.outputs
            )
        return proto


def _names(nodes: Sequence[NodeProto]) -> list[str]:
    """Return a name for each node: its own where no earlier node has it, else its operator and a number."""
    taken = {node.name for node in nodes}
    seen = {""}
    counts: Counter[str] = Counter()
    names = []
    for node in nodes:
        name = node.name
        while name in seen:
            counts[node.op_type] += 1
            name = f"{node.op_type}_{counts[node.op_type]}"
            if name in taken:
                name = ""
        seen.add(name)
        names.append(name)
    return names
