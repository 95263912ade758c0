"""Variables that a model keeps between calls, as inputs and outputs: the model becomes a function of its state.

A variable is read as an input under its name, and what is assigned to it comes out as an output under that name with
`/next` behind it; whoever runs the model hands it on. What the file assigns before the first call is not part of the
function: it is the state to begin with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from balance_core.errors import UnsupportedModel

if TYPE_CHECKING:
    from balance_core.converters.tflite.reader import Graph, Operator, Tensor

KINDS = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"})


def as_function(graph: Graph) -> Graph:
    """Return the graph without its variables; raises UnsupportedModel for what is done to them otherwise."""
    if not any(operator.kind in KINDS for operator in graph.operators):
        return graph
    return _Variables(graph).graph()


@dataclass
class _Variables:
    """The state of the rewriting, in the order of the operators."""

    source: Graph

    def __post_init__(self) -> None:
        self.names: dict[int, str] = {}  # of the variables, by the tensors that are their handles
        self.values: dict[str, int] = {}  # the tensor that a variable holds
        self.alias: dict[int, int] = {}  # tensors that are others
        self.read: list[tuple[str, int]] = []
        self.assigned: set[str] = set()

    def graph(self) -> Graph:
        operators = []
        for operator in self.source.operators:
            if operator.kind not in KINDS:
                inputs = tuple(self.alias.get(i, i) for i in operator.inputs)
                if any(i in self.names for i in inputs):
                    raise self._refused(operator, "it takes a variable itself")
                operators.append(replace(operator, inputs=inputs))
            elif operator.kind == "VAR_HANDLE":
                name = (operator.options["SharedName"] or b"").decode("utf-8", "replace")
                self.names[operator.outputs[0]] = "".join(c if c.isprintable() else "?" for c in name)[:100]
            elif operator.kind == "READ_VARIABLE":
                self._read(operator)
            elif operator.kind == "ASSIGN_VARIABLE":
                self._assign(operator)
        ends = tuple(dict.fromkeys(self.alias.get(i, i) for i in self.source.outputs))
        following = [(name, self.values[name]) for name in self.values if name in self.assigned]
        return self._assembled(tuple(operators), ends, following)

    def _variable(self, operator: Operator, count: int) -> str:
        if len(operator.inputs) != count or operator.inputs[0] not in self.names:
            raise self._refused(operator, "its operand is no variable")
        return self.names[operator.inputs[0]]

    def _read(self, operator: Operator) -> None:
        name, made = self._variable(operator, 1), operator.outputs[0]
        if name in self.values:
            self._check_alike(operator, self.values[name], made)
            self.alias[made] = self.values[name]
            return
        self.values[name] = made
        self.read.append((name, made))

    def _assign(self, operator: Operator) -> None:
        name = self._variable(operator, 2)
        given = self.alias.get(operator.inputs[1], operator.inputs[1])
        if name in self.values:
            self._check_alike(operator, self.values[name], given)
        self.values[name] = given
        self.assigned.add(name)

    def _check_alike(self, operator: Operator, left: int, right: int) -> None:
        """Make sure that a variable's integers mean the same wherever it is read and assigned."""
        a, b = self.source.tensors[left], self.source.tensors[right]
        same = (a.shape, a.dtype, *a.scales, *a.zero_points) == (b.shape, b.dtype, *b.scales, *b.zero_points)
        if not same:
            raise self._refused(operator, f"the variable is of shape {a.shape} before and {b.shape} after")

    def _assembled(
        self, operators: tuple[Operator, ...], ends: tuple[int, ...], following: list[tuple[str, int]]
    ) -> Graph:
        tensors: list[Tensor] = list(self.source.tensors)
        made = [place for _, place in following]
        if len(set(made)) != len(made) or set(made) & {*ends, *self.source.inputs, *(i for _, i in self.read)}:
            raise UnsupportedModel("a variable of the model is assigned what is an input or output already")
        for name, place in self.read:
            tensors[place] = replace(tensors[place], name=name)
        for name, place in following:
            tensors[place] = replace(tensors[place], name=f"{name}/next")
        inputs = (*self.source.inputs, *(place for _, place in self.read))
        return replace(
            self.source, tensors=tuple(tensors), operators=operators, inputs=inputs, outputs=(*ends, *made)
        )

    @staticmethod
    def _refused(operator: Operator, reason: str) -> UnsupportedModel:
        return UnsupportedModel("the model's variables cannot be taken", issues=[operator.issue(reason)])
