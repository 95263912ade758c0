"""Refuse what cannot be proven, and name every node that is in the way."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from onnx import TensorProto, TypeProto

from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.model import ml
from balance_core.model.graph import domain, issue, label, operator, printable, quoted, schema, subgraphs
from balance_core.model.passes.drop import is_training
from balance_core.model.tensors import MAX_MODEL_BYTES, nbytes, type_name

if TYPE_CHECKING:
    from onnx import NodeProto

    from balance_core.model.draft import Draft

MAX_VALUE_ELEMENTS = 2**28
"""Largest tensor between two nodes, in elements."""
MAX_ALL_ELEMENTS = 2**30
"""Most elements of all tensors between nodes together: four gibibytes of floats."""

_CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_NUMBERS = frozenset(
    {
        TensorProto.BOOL, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE,
        TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
        TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    }
)  # fmt: skip


def unsupported(draft: Draft) -> None:
    """Raise UnsupportedModel with all nodes that stand between the model and a proof; types must have been derived.

    Refused are unknown operators and domains, control flow that remains after folding, random operators and those in
    training mode, values that are no dense tensors of numbers, shapes that depend on the input's values, and outputs
    that depend on no input.
    """
    issues = [*_inputs(draft), *(found for node in draft.nodes if (found := _node(node, draft)))]
    issues += _constant_outputs(draft)
    if issues:
        raise UnsupportedModel("the model holds what cannot be proven", issues=issues)


def too_large(draft: Draft) -> None:
    """Raise UnsupportedModel for constants of more than 2 GiB, and more than MAX_ALL_ELEMENTS between the nodes."""
    total = sum(map(nbytes, draft.constants.values()))
    if total > MAX_MODEL_BYTES:
        raise UnsupportedModel(f"the model's constants take {total} bytes, more than 2 GiB")
    elements = sum(prod(draft.shape(name) or ()) for node in draft.nodes for name in node.output)
    if elements > MAX_ALL_ELEMENTS:
        raise UnsupportedModel(f"the values between the model's nodes have {elements} elements, too many to prove")


def _inputs(draft: Draft) -> list[NodeIssue]:
    problems = ((name, _type_problem(kind)) for name, kind in draft.inputs.items())
    return [NodeIssue(printable(name), "input", problem) for name, problem in problems if problem]


def _node(node: NodeProto, draft: Draft) -> NodeIssue | None:
    """Return what is wrong with the node itself, None for nothing; its inputs' own faults are not repeated."""
    name = domain(node.domain)
    problem: tuple[str, str | None] | None = None
    if name not in draft.versions:
        problem = f"the model does not import the domain {quoted(name or 'ai.onnx')}", None
    elif schema(node, draft.versions) is None:
        problem = (
            f"ONNX knows no such operator at opset {draft.versions[name]}",
            "write it with operators of ONNX, or define it as a function of the model",
        )
    elif node.op_type in _CONTROL or any(subgraphs(node)):
        problem = (
            "the input decides its control flow, or it repeats too often to be unrolled",
            "export the model with the branch or the number of steps fixed",
        )
    elif not name and node.op_type in _RANDOM:
        problem = "it draws random numbers", "export the model for inference"
    elif is_training(node, draft):
        problem = "it is in training mode", "export the model for inference: model.eval()"
    elif not any(read and _type_problem(draft.types.get(read)) for read in node.input):
        problems = (_type_problem(draft.types.get(made)) for made in node.output if made)
        problem = next(((found, None) for found in problems if found), None)
    return issue(node, *problem) if problem else None


def _type_problem(kind: TypeProto | None) -> str | None:
    if kind is None or kind.WhichOneof("value") is None:
        return "the type of its value is not known before it runs"
    which = kind.WhichOneof("value")
    if which != "tensor_type":
        return f"its value is a {str(which).removesuffix('_type').replace('_', ' ')}, not a tensor"
    if kind.tensor_type.elem_type not in _NUMBERS:
        return f"its value has elements of type {type_name(kind.tensor_type.elem_type)}"
    sizes = ml.shape(kind)
    if sizes is None:
        return "the shape of its value is not known before it runs"
    if prod(sizes) > MAX_VALUE_ELEMENTS:
        return f"its value of shape {sizes} is larger than {MAX_VALUE_ELEMENTS} elements"
    return None


def _constant_outputs(draft: Draft) -> list[NodeIssue]:
    depends = set(draft.inputs)
    producer: dict[str, NodeProto] = {}
    for node in draft.nodes:
        producer |= dict.fromkeys(node.output, node)
        if any(name in depends for name in node.input) or any(subgraphs(node)):
            depends.update(node.output)
    return [
        NodeIssue(
            label(producer[name]) if name in producer else printable(name),
            printable(operator(producer[name])) if name in producer else "constant",
            f"the output {quoted(name)} depends on no input",
            "export the model with its input, not with an example in its place",
        )
        for name in draft.outputs
        if name not in depends
    ]
