"""A model of the zkml project as an integer model: the same integers, layer by layer, for every admissible input."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from balance_core.converters.exact import ExactGraph, Tensor
from balance_core.converters.zkml.layers import LAYERS, Context
from balance_core.converters.zkml.reader import MAX_VALUE, input_name
from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from balance_core.converters.zkml.reader import Layer, ZkmlModel
    from balance_core.integer.model import IntegerModel

_UNSUPPORTED = {
    "Div": "the format itself cannot run this layer",
    "DivVar": "its divisor may be negative or 0, for which the format says nothing",
    "Rotate": "no model that the format's converter writes holds it",
    "Update": "training steps are not proven here",
}


def convert(model: ZkmlModel) -> IntegerModel:
    """Return the integer model; raises UnsupportedModel with every layer that cannot be taken.

    Inputs and outputs are integers at the file's scale. An input stands in the file's range of k bits. Whatever
    leaves the 32 bits that the format can hold saturates there, as does what leaves the k bits where a non-linear
    function is looked up, so that the function is total; nothing else is changed.
    """
    _refuse(model)
    graph = ExactGraph()
    scale = Fraction(1, model.scale)
    tensors: dict[int, Tensor] = {}
    try:
        for number, array in model.weights.items():
            graph.label = f"tensor {number}"
            tensors[number] = graph.weight(array)
        for number, shape in model.input_shapes().items():
            graph.label = f"tensor {number}"
            tensors[number] = graph.input(input_name(number), shape, (model.least, model.most), scale)
    except Inadmissible as error:
        raise UnsupportedModel(f"{graph.label}: {error}") from None
    for layer in model.layers:
        graph.label = f"{layer.kind} {layer.outputs[0]}"
        _run(Context(graph, model, layer), tensors)
    missing = [number for number in model.outputs if number not in tensors]
    if missing:
        raise UnsupportedModel(f"no layer makes the output {missing[0]}")
    try:
        return graph.finish([(input_name(number), tensors[number], scale, 0) for number in model.outputs])
    except Inadmissible as error:
        raise UnsupportedModel(f"{graph.label}: {error}") from None


def _refuse(model: ZkmlModel) -> None:
    """Raise UnsupportedModel with all layers of kinds that are not known, or that cannot be trusted."""
    issues = []
    for layer in model.layers:
        if layer.kind not in LAYERS:
            reason = _UNSUPPORTED.get(layer.kind, "no such layer is known")
            issues.append(NodeIssue(layer.name, layer.kind, reason))
        elif layer.kind == "Noop" and len(layer.inputs) != 1:
            reason = f"it reads {len(layer.inputs)} tensors: the format's converter writes it for what it leaves out"
            issues.append(NodeIssue(layer.name, layer.kind, reason, "convert the original model instead"))
    if issues:
        raise UnsupportedModel("the model cannot be taken as it is", issues=issues)


def _run(context: Context, tensors: dict[int, Tensor]) -> None:
    """Convert one layer and store what it makes; its shapes must be those that the file declares."""
    layer = context.layer
    try:
        given = [
            _read(tensors, number, shape) for number, shape in zip(layer.inputs, layer.input_shapes, strict=True)
        ]
        results = LAYERS[layer.kind](context, given)
        _check_results(layer, results, tensors)
        for number, result in zip(layer.outputs, results, strict=True):
            tensors[number] = context.graph.clamp(result, -MAX_VALUE, MAX_VALUE - 1)
    except Inadmissible as error:
        issue = NodeIssue(layer.name, layer.kind, str(error))
        raise UnsupportedModel("the model cannot be taken as it is", issues=[issue]) from None


def _read(tensors: dict[int, Tensor], number: int, shape: tuple[int, ...]) -> Tensor:
    if number not in tensors:
        raise Inadmissible(f"tensor {number} is not made before it")
    if tensors[number].shape != shape:
        raise Inadmissible(f"tensor {number} has the shape {tensors[number].shape}, and the layer declares {shape}")
    return tensors[number]


def _check_results(layer: Layer, results: list[Tensor], tensors: dict[int, Tensor]) -> None:
    if len(results) != len(layer.outputs):
        raise Inadmissible(f"it makes {len(results)} tensors and declares {len(layer.outputs)}")
    if len(set(layer.outputs)) != len(layer.outputs) or any(number in tensors for number in layer.outputs):
        raise Inadmissible("it makes a tensor that is there already")
    for shape, result in zip(layer.output_shapes, results, strict=True):
        if result.shape != shape:
            raise Inadmissible(f"it makes a tensor of shape {result.shape}, and declares {shape}")
