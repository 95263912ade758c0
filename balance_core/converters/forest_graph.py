"""Boosted trees as an ONNX graph: one TreeEnsemble, and the link that makes answers of its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto, ValueInfoProto

    from balance_core.converters.forest import Forest, Mode, Split

_MODES: dict[Mode, int] = {"<=": 0, "<": 1, "in": 6}
"""Comparisons, in the numbering of TreeEnsemble (ai.onnx.ml 5)."""
_OPSETS = (("", 18), ("ai.onnx.ml", 5))


def graph_of(forest: Forest) -> ModelProto:
    """Return the graph: input `x` [N, features] float32; output `value`, or `label` and `probabilities`."""
    nodes, constants = _ensemble(forest)
    more, constants_more, outputs = _answers(forest)
    graph = helper.make_graph(
        [*nodes, *more],
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", forest.features])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in (constants | constants_more).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    return helper.make_model(graph, opset_imports=opsets, producer_name="balance", ir_version=10)


def _ensemble(forest: Forest) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Return the nodes that make `scores` [N, results] and their constants; a tree of one leaf joins the base."""
    base = forest.base.astype(np.float64).copy()
    splits: list[tuple[Split, int, int]] = []
    roots: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for tree in forest.trees:
        if not tree.splits:
            base[tree.result] += tree.leaves[0]
            continue
        roots.append(len(splits))
        first, leaf = len(splits), len(targets)
        splits += [(split, first, leaf) for split in tree.splits]
        targets += [tree.result] * len(tree.leaves)
        weights += tree.leaves

    def branch(to: int, first: int, leaf: int) -> int:
        return to + first if to >= 0 else ~to + leaf

    members = [[*split.members, np.nan] for split, _, _ in splits if split.mode == "in"]
    attributes: dict[str, Any] = {
        "n_targets": len(base),
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": roots,
        "nodes_featureids": [split.feature for split, _, _ in splits],
        "nodes_modes": _tensor("modes", [_MODES[split.mode] for split, _, _ in splits], np.uint8),
        "nodes_splits": _tensor("splits", [float(split.threshold) for split, _, _ in splits], np.float32),
        "nodes_truenodeids": [branch(split.yes, first, leaf) for split, first, leaf in splits],
        "nodes_trueleafs": [int(split.yes < 0) for split, _, _ in splits],
        "nodes_falsenodeids": [branch(split.no, first, leaf) for split, first, leaf in splits],
        "nodes_falseleafs": [int(split.no < 0) for split, _, _ in splits],
        "nodes_missing_value_tracks_true": [int(split.missing) for split, _, _ in splits],
        "leaf_targetids": targets,
        "leaf_weights": _tensor("weights", weights, np.float32),
    }
    if members:
        attributes["membership_values"] = _tensor("members", [m for found in members for m in found], np.float32)
    node = helper.make_node("TreeEnsemble", ["x"], ["trees"], name="trees", domain="ai.onnx.ml", **attributes)
    total = helper.make_node("Add", ["trees", "base"], ["scores"], name="base_score")
    return [node, total], {"base": base.astype(np.float32).reshape(1, -1)}


def _tensor(name: str, values: Sequence[float], dtype: type) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def _answers(forest: Forest) -> tuple[list[NodeProto], dict[str, np.ndarray], list[ValueInfoProto]]:
    """Return nodes, constants and outputs that make answers of the scores."""
    results = len(forest.base)
    node = helper.make_node
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    constants: dict[str, np.ndarray] = {}
    scores = "scores"
    steep: list[NodeProto] = []
    if forest.sigmoid != 1 and forest.link in {"binary", "sigmoid", "one-vs-all"}:
        constants["steepness"] = np.array(forest.sigmoid, dtype=np.float32)
        scores = "logits"
        steep = [node("Mul", ["scores", "steepness"], ["logits"], name="logits")]
    match forest.link:
        case "identity" | "exp" | "sigmoid":
            op = {"identity": "Identity", "exp": "Exp", "sigmoid": "Sigmoid"}[forest.link]
            value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N", results])
            return [*steep, node(op, [scores], ["value"], name="value")], constants, [value]
        case "binary" | "hinge":
            constants |= {"zero": np.zeros((), np.float32), "flat": np.array([-1], dtype=np.int64)}
            found = [
                node("Greater", ["scores", "zero"], ["positive"], name="positive"),
                node("Cast", ["positive"], ["number"], name="number", to=TensorProto.INT64),
                node("Reshape", ["number", "flat"], ["label"], name="label"),
            ]
            if forest.link == "hinge":
                return found, constants, [label]
            constants["one"] = np.ones((), np.float32)
            found += [
                *steep,
                node("Sigmoid", [scores], ["second"], name="second"),
                node("Sub", ["one", "second"], ["first"], name="first"),
                node("Concat", ["first", "second"], ["probabilities"], name="probabilities", axis=1),
            ]
            results = 2
        case "softmax" | "one-vs-all":
            op = "Softmax" if forest.link == "softmax" else "Sigmoid"
            extra: dict[str, Any] = {"axis": 1} if op == "Softmax" else {}
            found = [
                node("ArgMax", ["scores"], ["label"], name="label", axis=1, keepdims=0),
                *steep,
                node(op, [scores], ["probabilities"], name="probabilities", **extra),
            ]
    shares = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", results])
    return found, constants, [label, shares]
