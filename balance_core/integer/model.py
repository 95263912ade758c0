"""The integer model: a list of nodes, each of which makes one tensor from earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from balance_core import canonical
from balance_core.errors import ConfigError
from balance_core.integer.facts import MAX_TOTAL, Fact, Inadmissible, check_interval, check_shape
from balance_core.integer.operations import Constant, Input, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NODES = 2**16
"""Largest number of nodes of a model."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation on earlier tensors; node i makes tensor i, whose real value is (integer - zero_point) * scale."""

    operation: Operation
    inputs: tuple[int, ...] = ()
    scale: Fraction = Fraction(1)
    zero_point: int = 0
    label: str = ""
    """The name of the ONNX tensor that this one stands for, for people to read; not part of any digest."""


@dataclass(frozen=True, slots=True)
class Output:
    """A named result: one of the tensors."""

    name: str
    tensor: int


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """A checked integer model; raises ConfigError, with the node's place and label, for anything inadmissible.

    `weights` maps the tensors of constants that are weights to their int64 arrays. It is empty for a model of which
    only the structure is known: everything but execution works on such a model.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    weights: Mapping[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_structure()
        if self.weights:
            self._check_weights()

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Shape and interval of each tensor."""
        facts: list[Fact] = []
        total = 0
        for place, node in enumerate(self.nodes):
            if any(not 0 <= i < place for i in node.inputs):
                raise ConfigError(f"{self.name_of(place)} reads a tensor that is not made before it")
            try:
                fact = checked_fact(node.operation, tuple(facts[i] for i in node.inputs))
            except Inadmissible as error:
                raise ConfigError(f"{self.name_of(place)}: {error}") from None
            total += fact.size
            if total > MAX_TOTAL:
                raise ConfigError(f"the tensors of the model hold more than {MAX_TOTAL} elements")
            facts.append(fact)
        return tuple(facts)

    def _check_structure(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise ConfigError(f"a model has 1 to {MAX_NODES} nodes, not {len(self.nodes)}")
        _ = self.facts
        if any(node.scale <= 0 for node in self.nodes):
            raise ConfigError("a scale is not positive")
        if not self.outputs or any(not 0 <= output.tensor < len(self.nodes) for output in self.outputs):
            raise ConfigError("the outputs are not tensors of the model")
        for what, names in (
            ("input", [op.label for _, op in self.inputs]),
            ("output", [output.name for output in self.outputs]),
        ):
            if len(set(names)) != len(names) or not all(names):
                raise ConfigError(f"the {what} names {names} are not distinct names")

    def _check_weights(self) -> None:
        if sorted(self.weights) != list(self.weight_nodes):
            raise ConfigError("the weights are not those that the structure declares")
        for place, array in self.weights.items():
            fact = self.facts[place]
            if array.shape != fact.shape or array.dtype != np.int64:
                raise ConfigError(f"{self.name_of(place)}: weights of shape {array.shape}, {array.dtype} do not fit")
            if int(array.min()) < fact.lo or int(array.max()) > fact.hi:
                raise ConfigError(f"{self.name_of(place)}: weights leave the declared range [{fact.lo}, {fact.hi}]")

    def name_of(self, place: int) -> str:
        """Return how messages call a node."""
        node = self.nodes[place]
        label = f" ({node.label})" if node.label else ""
        return f"node {place} {node.operation.name}{label}"

    @cached_property
    def inputs(self) -> tuple[tuple[int, Input], ...]:
        """The tensors that the caller gives, in order."""
        return tuple((i, node.operation) for i, node in enumerate(self.nodes) if isinstance(node.operation, Input))

    @cached_property
    def weight_nodes(self) -> tuple[int, ...]:
        """The tensors whose integers are kept apart, in order."""
        return tuple(
            i
            for i, node in enumerate(self.nodes)
            if isinstance(node.operation, Constant) and node.operation.is_weight
        )

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """For each tensor the last node that reads it; the number of nodes for outputs."""
        last = list(range(len(self.nodes)))
        for place, node in enumerate(self.nodes):
            for i in node.inputs:
                last[i] = place
        for output in self.outputs:
            last[output.tensor] = len(self.nodes)
        return tuple(last)

    def structure_only(self) -> Self:
        """Return the model without its weights."""
        return type(self)(self.nodes, self.outputs)

    @cached_property
    def structure_digest(self) -> str:
        """SHA-256 of everything but the weights."""
        from balance_core.integer.encoding import encode_structure

        return canonical.digest("integer-model/structure/1", encode_structure(self))

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of the weights; of private weights it must not be published, for it would confirm a guess."""
        from balance_core.integer.encoding import encode_weights

        return canonical.digest("integer-model/weights/1", encode_weights(self))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of structure and weights together."""
        parts = bytes.fromhex(self.structure_digest), bytes.fromhex(self.weights_digest)
        return canonical.digest("integer-model/1", *parts)


def checked_fact(operation: Operation, operands: tuple[Fact, ...]) -> Fact:
    """Apply an operation's rules and the general limits; raises Inadmissible."""
    fact = operation.fact(operands)
    check_shape(fact.shape)
    check_interval(fact.lo, fact.hi)
    return fact
