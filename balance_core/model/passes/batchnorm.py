"""Fuse BatchNormalization into the convolution or matrix product before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import NodeProto, helper

from balance_core.model import tensors
from balance_core.model.graph import domain
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from balance_core.model.draft import Draft


def fuse(draft: Draft) -> None:
    """Multiply the weights before a BatchNormalization by its scale and add its shift to the bias.

    Computed in float64 and rounded once. A normalisation whose input others read too, or whose weights are not
    constant, stays as it is.
    """
    if any(node.op_type == "BatchNormalization" for node in draft.nodes):
        _Fusion(draft).run()
        draft.clean()


class _Affine(NamedTuple):
    """y = x * scale + shift for each channel, in float64."""

    scale: np.ndarray
    shift: np.ndarray


class _Fusion:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.producer = {name: node for node in draft.nodes for name in node.output if name}
        self.readers = draft.readers()

    def run(self) -> None:
        kept = []
        for node in self.draft.nodes:
            affine = self._affine(node)
            before = self._private_producer(node.input[0]) if affine else None
            if affine is None or before is None:
                kept.append(node)
            elif before.op_type == "MatMul" and self._scale_product(before, affine.scale):
                shift = self._new(f"{node.output[0]}_shift", affine.shift, before.input[1])
                kept.append(helper.make_node("Add", [before.output[0], shift], node.output[:1], name=node.name))
            elif self._into(before, affine):
                before.output[0] = node.output[0]
                self.producer[node.output[0]] = before
            else:
                kept.append(node)
        self.draft.nodes = kept

    def _private_producer(self, name: str) -> NodeProto | None:
        """Return the node that computes a value for one reader only."""
        node = self.producer.get(name)
        if node is None or domain(node.domain) or any(node.output[1:]) or name in self.draft.outputs:
            return None
        return node if len(self.readers.get(name, ())) == 1 else None

    def _affine(self, node: NodeProto) -> _Affine | None:
        """Return what a BatchNormalization with constant statistics does to each channel (ONNX, its definition)."""
        if (
            node.op_type != "BatchNormalization"
            or domain(node.domain)
            or len(node.input) != 5
            or any(node.output[1:])
        ):
            return None
        values = map(self._float64, node.input[1:])
        found = [value for value in values if value is not None and value.ndim == 1]
        if len(found) < 4 or len({value.size for value in found}) > 1:
            return None
        scale, bias, mean, variance = found
        epsilon = attributes(node).get("epsilon", np.float32(1e-5))
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + float(epsilon))
            shift = bias - mean * factor
        return _Affine(factor, shift) if np.isfinite(factor).all() and np.isfinite(shift).all() else None

    def _into(self, node: NodeProto, affine: _Affine) -> bool:
        """Change the node so that it computes what the normalisation made of its output, if it can."""
        match node.op_type:
            case "Conv" | "ConvTranspose" | "Gemm":
                return self._layer(node, affine)
            case "Add":
                return self._add(node, affine)
        return False

    def _layer(self, node: NodeProto, affine: _Affine) -> bool:
        weights, given = self._float64(node.input[1]), attributes(node)
        has_bias = len(node.input) > 2 and bool(node.input[2])
        bias = self._float64(node.input[2]) if has_bias else np.zeros(1)
        count = affine.scale.size
        if weights is None or bias is None or weights.ndim < 2 or bias.size not in {1, count}:
            return False
        groups = max(1, given.get("group", 1))
        transposed = given.get("transB", 0)
        channels = {"Conv": weights.shape[0], "ConvTranspose": groups * weights.shape[1]}
        if count != channels.get(node.op_type, weights.shape[0 if transposed else 1]) or weights.shape[0] % groups:
            return False
        spatial = [1] * (weights.ndim - 2)
        if node.op_type == "Conv":  # (outputs, inputs / groups, ...)
            weights = weights * affine.scale.reshape(-1, 1, *spatial)
        elif node.op_type == "ConvTranspose":  # (inputs, outputs / groups, ...), the groups one after another
            grouped = weights.reshape(groups, -1, *weights.shape[1:])
            weights = (grouped * affine.scale.reshape(groups, 1, -1, *spatial)).reshape(weights.shape)
        else:
            if bias.ndim == 2 and bias.shape[0] > 1:  # one number for each row, not for each channel
                return False
            bias = bias * given.get("beta", 1.0)
            weights = weights * (affine.scale[:, None] if transposed else affine.scale)
            kept = [attribute for attribute in node.attribute if attribute.name != "beta"]
            del node.attribute[:]
            node.attribute.extend(kept)
        like = node.input[1]
        fused = self._new(f"{like}_fused", weights, like)
        node.input[1:] = [fused, self._new(f"{like}_bias", bias.reshape(-1) * affine.scale + affine.shift, like)]
        return True

    def _add(self, node: NodeProto, affine: _Affine) -> bool:
        """Fuse into x @ W + b."""
        old = next((name for name in node.input if name in self.draft.constants), "")
        product = self._private_producer(next((name for name in node.input if name != old), ""))
        bias = self._float64(old)
        if product is None or product.op_type != "MatMul" or bias is None:
            return False
        columns = bias.shape[-1] if bias.ndim else 1
        if bias.size != columns or columns not in {1, affine.scale.size}:
            return False
        if not self._scale_product(product, affine.scale):
            return False
        fused = self._new(f"{old}_fused", bias.reshape(-1) * affine.scale + affine.shift, old)
        node.input[:] = [fused if name == old else name for name in node.input]
        return True

    def _scale_product(self, node: NodeProto, scale: np.ndarray) -> bool:
        """Scale the columns of x @ W, where the channels are the last of two axes."""
        weights, sizes = self._float64(node.input[1]), self.draft.shape(node.input[0])
        if weights is None or sizes is None or len(sizes) != 2 or weights.shape[1:] != scale.shape:
            return False
        node.input[1] = self._new(f"{node.input[1]}_fused", weights * scale, node.input[1])
        return True

    def _float64(self, name: str) -> np.ndarray | None:
        value = self.draft.constant(name)
        return None if value is None else value.astype(np.float64)

    def _new(self, stem: str, values: np.ndarray, like: str) -> str:
        """Add a constant of the same element type as another one, and return its name."""
        dtype = tensors.array(self.draft.constants[like]).dtype
        return self.draft.define(self.draft.fresh(stem), values.astype(dtype))
