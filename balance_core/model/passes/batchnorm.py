"""Fuse BatchNormalization into the convolution or matrix product before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import NodeProto, helper

from balance_core.model import tensors
from balance_core.model.graph import domain
from balance_core.model.ml import attributes, shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.model.draft import Draft


class _Affine(NamedTuple):
    """y = x * scale + shift for each channel, in float64."""

    scale: np.ndarray
    shift: np.ndarray


def fuse(draft: Draft) -> None:
    """Multiply the weights before a BatchNormalization by its scale and add its shift to the bias.

    Computed in float64 and rounded once. A normalisation whose input others read too, or whose weights are not
    constant, stays as it is.
    """
    producer = {name: node for node in draft.nodes for name in node.output if name}
    readers = draft.readers()
    replaced: dict[int, NodeProto | None] = {}
    for node in draft.nodes:
        affine = _affine(node, draft)
        before = producer.get(node.input[0]) if affine else None
        if affine is None or before is None or not _is_private(before, draft, readers):
            continue
        if before.op_type == "Add":
            replaced |= _into_add(before, node, affine, draft, producer, readers)
        elif before.op_type == "MatMul" and _scale_matmul(before, affine.scale, draft):
            replaced[id(node)] = helper.make_node(
                "Add", [before.output[0], _new(draft, f"{node.output[0]}_shift", affine.shift, before.input[1])],
                node.output[:1], name=node.name)  # fmt: skip
        elif before.op_type in _LAYERS and _LAYERS[before.op_type](before, affine, draft):
            before.output[0] = node.output[0]
            replaced[id(node)] = None
    rewritten = (replaced.get(id(node), node) for node in draft.nodes)
    draft.nodes = [node for node in rewritten if node is not None]
    draft.clean()


def _is_private(node: NodeProto, draft: Draft, readers: dict[str, list[NodeProto]]) -> bool:
    [name, *rest] = node.output
    return not domain(node.domain) and not any(rest) and len(readers[name]) == 1 and name not in draft.outputs


def _affine(node: NodeProto, draft: Draft) -> _Affine | None:
    """Return what a BatchNormalization with constant statistics does to each channel (ONNX, its definition)."""
    if node.op_type != "BatchNormalization" or domain(node.domain) or len(node.input) != 5 or any(node.output[1:]):
        return None
    found = [draft.constant(name) for name in node.input[1:]]
    if any(value is None or value.ndim != 1 for value in found):
        return None
    scale, bias, mean, variance = (np.asarray(value, dtype=np.float64) for value in found)
    epsilon = float(attributes(node).get("epsilon", np.float32(1e-5)))
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
    return _Affine(factor, shift) if np.isfinite(factor).all() and np.isfinite(shift).all() else None


def _new(draft: Draft, stem: str, values: np.ndarray, like: str) -> str:
    """Add a constant of the same element type as another one, and return its name."""
    name = draft.fresh(stem)
    dtype = tensors.array(draft.constants[like]).dtype
    draft.constants[name] = tensors.of_array(values.astype(dtype), name)
    return name


def _set_bias(node: NodeProto, affine: _Affine, bias: np.ndarray | None, draft: Draft) -> None:
    """Give the layer the bias that it has after the normalisation."""
    values = affine.shift if bias is None else bias * affine.scale + affine.shift
    del node.input[2:]
    node.input.append(_new(draft, f"{node.input[1]}_bias", values, node.input[1]))


def _bias(node: NodeProto, draft: Draft) -> tuple[bool, np.ndarray | None]:
    """Return whether the layer's bias is known, and the bias."""
    if len(node.input) < 3 or not node.input[2]:
        return True, None
    value = draft.constant(node.input[2])
    return value is not None, None if value is None else value.astype(np.float64)


def _conv(node: NodeProto, affine: _Affine, draft: Draft) -> bool:
    weights, (known, bias) = draft.constant(node.input[1]), _bias(node, draft)
    if weights is None or not known:
        return False
    if node.op_type == "Conv":  # (outputs, inputs / groups, ...)
        scaled = weights * affine.scale.reshape(-1, *[1] * (weights.ndim - 1))
    else:  # ConvTranspose: (inputs, outputs / groups, ...), the groups one after another
        groups = attributes(node).get("group", 1)
        grouped = weights.reshape(groups, -1, *weights.shape[1:])
        scaled = (grouped * affine.scale.reshape(groups, 1, -1, *[1] * (weights.ndim - 2))).reshape(weights.shape)
    node.input[1] = _new(draft, f"{node.input[1]}_fused", scaled, node.input[1])
    _set_bias(node, affine, bias, draft)
    return True


def _gemm(node: NodeProto, affine: _Affine, draft: Draft) -> bool:
    given = attributes(node)
    weights, (known, bias) = draft.constant(node.input[1]), _bias(node, draft)
    if weights is None or not known or (bias is not None and bias.ndim == 2 and bias.shape[0] > 1):
        return False
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1) * given.get("beta", 1.0), affine.scale.shape)
    scaled = weights * (affine.scale[:, None] if given.get("transB", 0) else affine.scale)
    node.input[1] = _new(draft, f"{node.input[1]}_fused", scaled, node.input[1])
    _set_bias(node, affine, bias, draft)
    kept = [attribute for attribute in node.attribute if attribute.name != "beta"]
    del node.attribute[:]
    node.attribute.extend(kept)
    return True


def _scale_matmul(node: NodeProto, scale: np.ndarray, draft: Draft) -> bool:
    """Scale the columns of x @ W, where the channels are the last of two axes."""
    weights, sizes = draft.constant(node.input[1]), shape(draft.types.get(node.input[0]))
    if weights is None or weights.ndim != 2 or sizes is None or len(sizes) != 2:
        return False
    node.input[1] = _new(draft, f"{node.input[1]}_fused", weights * scale, node.input[1])
    return True


def _into_add(
    node: NodeProto,
    normalisation: NodeProto,
    affine: _Affine,
    draft: Draft,
    producer: dict[str, NodeProto],
    readers: dict[str, list[NodeProto]],
) -> dict[int, NodeProto | None]:
    """Fuse into a matrix product with a bias: x @ W + b."""
    position = next((i for i, name in enumerate(node.input) if name in draft.constants), None)
    product = producer.get(node.input[1 - position]) if position is not None else None
    if position is None or product is None or product.op_type != "MatMul" or not _is_private(product, draft, readers):
        return {}
    bias = tensors.array(draft.constants[node.input[position]]).astype(np.float64)
    if bias.size not in {1, affine.scale.size} or bias.shape[-1:] != (bias.size,)[: bias.ndim]:
        return {}
    old = node.input[position]
    if bias.ndim > 2 or not _scale_matmul(product, affine.scale, draft):
        return {}
    values = np.broadcast_to(bias.reshape(-1), affine.scale.shape) * affine.scale + affine.shift
    node.input[position] = _new(draft, f"{old}_fused", values, old)
    node.output[0] = normalisation.output[0]
    return {id(normalisation): None}


_LAYERS: dict[str, Callable[[NodeProto, _Affine, Draft], bool]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
}
