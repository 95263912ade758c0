"""Write out the attributes that a node leaves to their defaults: some provers insist on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, helper

from balance_core.model.graph import domain, schema
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto

    from balance_core.model.draft import Draft

_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})
_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})


def write_out(draft: Draft) -> None:
    """Add every default that the operator's definition names, and for windows those that depend on their rank."""
    for node in draft.nodes:
        definition = schema(node, draft.versions)
        if definition is None:
            continue
        _windows(node, draft)
        given = {attribute.name for attribute in node.attribute}
        for name, declared in definition.attributes.items():
            if name not in given and declared.default_value.type:
                node.attribute.append(AttributeProto(name=name, type=declared.default_value.type))
                node.attribute[-1].MergeFrom(declared.default_value)


def _windows(node: NodeProto, draft: Draft) -> None:
    """Write strides, dilations, kernel_shape and pads of convolutions and pools; `auto_pad` becomes explicit pads."""
    if domain(node.domain) or node.op_type not in _CONVOLUTIONS | _POOLS:
        return
    given = attributes(node)
    sizes = draft.shape(node.input[0])
    if sizes is None:
        return
    rank = len(sizes) - 2
    new: dict[str, Sequence[int]] = {}
    if node.op_type in _CONVOLUTIONS and "kernel_shape" not in given:
        weights = draft.shape(node.input[3 if node.op_type == "QLinearConv" else 1])
        if weights is None:
            return
        new["kernel_shape"] = given["kernel_shape"] = weights[2:]
    definition = schema(node, draft.versions)
    known = definition.attributes if definition else {}
    for name in ("strides", "dilations"):
        if name not in given and name in known:
            new[name] = given[name] = [1] * rank
    automatic = given.get("auto_pad", b"NOTSET")
    if "pads" not in given and automatic in {b"NOTSET", b"VALID"} and "output_shape" not in given:
        new["pads"] = [0] * (2 * rank)
    elif automatic in {b"SAME_UPPER", b"SAME_LOWER"} and node.op_type != "ConvTranspose":
        new["pads"] = _same(sizes[2:], given, upper=automatic == b"SAME_UPPER")
    if "pads" in new and automatic != b"NOTSET":
        _drop(node, "auto_pad")
        _drop(node, "pads")
    node.attribute.extend(helper.make_attribute(name, list(value)) for name, value in new.items())


def _same(sizes: Sequence[int], given: dict[str, Sequence[int]], *, upper: bool) -> list[int]:
    """Return the pads of auto_pad SAME_*: the output has ceil(size / stride) places (ONNX, operator Conv)."""
    before, after = [], []
    dilations = given.get("dilations", [1] * len(sizes))
    for size, kernel, stride, dilation in zip(sizes, given["kernel_shape"], given["strides"], dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return before + after


def _drop(node: NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
