"""The graph that ezkl is given: the model, with what ezkl lacks written out, and the context as its first input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import UnsupportedModel
from balance_ezkl.key import CONTEXT
from balance_ezkl.operators import SUPPORTED

if TYPE_CHECKING:
    from onnx import ModelProto

    from balance_core.model import Model

WRITTEN_OUT = frozenset(
    {
        "CastLike",
        "Gelu",
        "GroupNormalization",
        "HardSwish",
        "LayerNormalization",
        "MeanVarianceNormalization",
        "Mish",
    }
)
"""Operators that ezkl lacks and that ONNX itself defines by others; the core knows how to write out more."""


def expanded(model: Model) -> ModelProto:
    """Return the model's graph with what ezkl lacks written out; raises UnsupportedModel for what cannot be."""
    if SUPPORTED.issuperset(model.operators):
        return model.proto()
    from balance_core.model.expand import expand
    from balance_core.model.expansion import EXPANSIONS

    return expand(model.proto(), (WRITTEN_OUT | EXPANSIONS.keys()) & set(model.operators))


def with_context(proto: ModelProto) -> bytes:
    """Return the serialised graph with the context as one more input, before all others, that no node reads.

    ezkl makes every input public, and its proofs authenticate every public value; what the context should be is
    nothing that the graph could check.
    """
    from onnx import TensorProto, helper

    if any(value.name == CONTEXT.name for value in (*proto.graph.input, *proto.graph.output)):
        raise UnsupportedModel(
            f"the model has a tensor named {CONTEXT.name!r}, which is the name of the request's context",
            hint="give the tensor another name",
        )
    held = type(proto)()
    held.CopyFrom(proto)
    inputs = list(held.graph.input)
    del held.graph.input[:]
    held.graph.input.append(helper.make_tensor_value_info(CONTEXT.name, TensorProto.INT64, CONTEXT.shape))
    held.graph.input.extend(inputs)
    data: bytes = held.SerializeToString(deterministic=True)
    return data


def prefix(proto: ModelProto, count: int) -> ModelProto:
    """Return the graph of the first so many nodes, whose outputs are the values that no node of them reads."""
    from onnx import helper

    nodes = proto.graph.node[:count]
    read = {name for node in nodes for name in node.input}
    made = [name for node in nodes for name in node.output if name and name not in read]
    cut = type(proto)()
    cut.CopyFrom(proto)
    del cut.graph.node[count:]
    del cut.graph.output[:]
    # ezkl infers types and shapes itself.
    cut.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in made)
    return cut
